// A provisioner that asks `mesos.cvmfs.v1.Provisioner` on a unix socket for root file systems (isolator/agent/README.md).
// For agents that are built from source; lies beside Mesos' own provisioner.hpp.

#ifndef __REMOTE_PROVISIONER_HPP__
#define __REMOTE_PROVISIONER_HPP__

#include <string>
#include <vector>

#include <process/future.hpp>
#include <process/owned.hpp>

#include <stout/hashset.hpp>

#include "slave/containerizer/mesos/provisioner/provisioner.hpp"

namespace mesos {
namespace internal {
namespace slave {

class RemoteProvisionerProcess;

// The same as Provisioner. While the service is away `recover` and `destroy` wait for it, so that no container is taken for
// destroyed whose mounts are still there; `provision` fails at once.
class RemoteProvisioner : public Provisioner
{
public:
  // `address` as gRPC writes it, such as unix:///run/mesos-cvmfs/provisioner.sock.
  explicit RemoteProvisioner(const std::string& address);
  ~RemoteProvisioner() override;

  process::Future<Nothing> recover(const hashset<ContainerID>& knownContainerIds) const override;
  process::Future<ProvisionInfo> provision(const ContainerID& containerId, const Image& image) const override;
  process::Future<bool> destroy(const ContainerID& containerId) const override;
  process::Future<Nothing> pruneImages(const std::vector<Image>& excludedImages) const override;

private:
  process::Owned<RemoteProvisionerProcess> process;
};

} // namespace slave {
} // namespace internal {
} // namespace mesos {

#endif // __REMOTE_PROVISIONER_HPP__
