#include "slave/containerizer/mesos/provisioner/remote_provisioner.hpp"

#include <memory>

#include <grpcpp/grpcpp.h>

#include <process/after.hpp>
#include <process/defer.hpp>
#include <process/dispatch.hpp>
#include <process/grpc.hpp>
#include <process/id.hpp>

#include <stout/foreach.hpp>
#include <stout/path.hpp>
#include <stout/uuid.hpp>

#include "mesos/cvmfs/v1/provisioner.grpc.pb.h"

using std::string;
using std::vector;

using process::Failure;
using process::Future;
using process::dispatch;
using process::grpc::StatusError;

namespace mesos {
namespace internal {
namespace slave {

namespace v1 = ::mesos::cvmfs::v1;

// Below the agent's --executor_registration_timeout, so that a framework reads why instead of that.
const Duration PROVISION_TIMEOUT = Seconds(50);

// A service that is being started or upgraded is waited for by `recover`, `destroy` and `pruneImages`, and asked again when it
// goes while it works: ten times a minute. Then `destroy` fails, and the agent keeps the container until its next start; a
// failed `recover` ends the agent, whose service manager starts it again.
const Duration ATTEMPT_TIMEOUT = Minutes(1);
const int ATTEMPTS_MAX = 10;

class RemoteProvisionerProcess : public process::Process<RemoteProvisionerProcess>
{
public:
  explicit RemoteProvisionerProcess(const string& address)
    : ProcessBase(process::ID::generate("mesos-cvmfs-provisioner")), connection(connect(address)) {}

  Future<Nothing> recover(const hashset<ContainerID>& knownContainerIds)
  {
    v1::RecoverRequest request;
    foreach (const ContainerID& id, knownContainerIds) request.add_known_container_ids()->CopyFrom(id);
    return patient(&Stub::PrepareAsyncRecover, request, ATTEMPTS_MAX)
      .then([](const Try<v1::RecoverResponse, StatusError>& response) -> Future<Nothing> {
        if (response.isError()) return Failure(response.error().message);
        foreach (const v1::Quarantined& one, response->quarantined()) {
          LOG(WARNING) << "Container " << one.container_id() << " is set aside: " << one.reason();
        }
        return Nothing();
      });
  }

  Future<ProvisionInfo> provision(const ContainerID& containerId, const Image& image)
  {
    v1::ProvisionRequest request;
    request.mutable_container_id()->CopyFrom(containerId);
    request.mutable_image()->CopyFrom(image);
    // Each call of the agent is a root file system of its own; the key makes what gRPC sends twice one of them.
    request.set_idempotency_key(id::UUID::random().toString());
    return call(&Stub::PrepareAsyncProvision, request, PROVISION_TIMEOUT, false)
      .then([](const Try<v1::ProvisionResponse, StatusError>& response) -> Future<ProvisionInfo> {
        if (response.isError()) {
          const ::grpc::Status& status = response.error().status;
          // The text of the service is made for the framework's user.
          return Failure((isAway(status.error_code()) ? "The mesos-cvmfs service does not answer: " : "") + status.error_message());
        }
        ProvisionInfo info;
        info.rootfs = response->rootfs();
        vector<Path> volumes;
        foreach (const string& volume, response->ephemeral_volumes()) volumes.push_back(Path(volume));
        if (!volumes.empty()) info.ephemeralVolumes = volumes;
        if (response->has_docker_manifest()) info.dockerManifest = response->docker_manifest();
        return info;
      });
  }

  Future<bool> destroy(const ContainerID& containerId)
  {
    v1::DestroyRequest request;
    request.mutable_container_id()->CopyFrom(containerId);
    return patient(&Stub::PrepareAsyncDestroy, request, ATTEMPTS_MAX)
      .then([](const Try<v1::DestroyResponse, StatusError>& response) -> Future<bool> {
        if (response.isError()) return Failure(response.error().message);
        return response->destroyed();
      });
  }

  Future<Nothing> pruneImages(const vector<Image>& excludedImages)
  {
    v1::PruneImagesRequest request;
    foreach (const Image& image, excludedImages) request.add_excluded_images()->CopyFrom(image);
    return patient(&Stub::PrepareAsyncPruneImages, request, ATTEMPTS_MAX)
      .then([](const Try<v1::PruneImagesResponse, StatusError>& response) -> Future<Nothing> {
        if (response.isError()) return Failure(response.error().message);
        return Nothing();
      });
  }

protected:
  void finalize() override { runtime.terminate(); }

private:
  typedef v1::Provisioner::Stub Stub;

  // Tries again within a second: gRPC's own pauses grow to two minutes.
  static process::grpc::client::Connection connect(const string& address)
  {
    ::grpc::ChannelArguments arguments;
    arguments.SetInt("grpc.initial_reconnect_backoff_ms", 100);
    arguments.SetInt("grpc.min_reconnect_backoff_ms", 1000);
    arguments.SetInt("grpc.max_reconnect_backoff_ms", 1000);
    return process::grpc::client::Connection(::grpc::CreateCustomChannel(address, ::grpc::InsecureChannelCredentials(), arguments));
  }

  template <typename Request, typename Response>
  using Method = std::unique_ptr<::grpc::ClientAsyncResponseReader<Response>> (Stub::*)(
      ::grpc::ClientContext*, const Request&, ::grpc::CompletionQueue*);

  // Discarding the future cancels the call; the service then rolls back, or leaves what `destroy` removes.
  template <typename Request, typename Response>
  Future<Try<Response, StatusError>> call(Method<Request, Response> method, const Request& request, const Duration& timeout, bool wait)
  {
    process::grpc::client::CallOptions options;
    options.wait_for_ready = wait;
    options.timeout = timeout;
    return runtime.call(connection, std::move(method), Request(request), options);
  }

  // For calls that may be repeated.
  template <typename Request, typename Response>
  Future<Try<Response, StatusError>> patient(Method<Request, Response> method, const Request& request, int attempts)
  {
    typedef Try<Response, StatusError> Result;
    return call(method, request, ATTEMPT_TIMEOUT, true)
      .then(process::defer(self(), [=](const Result& result) -> Future<Result> {
        if (result.isSome() || attempts <= 1 || !isAway(result.error().status.error_code())) return result;
        LOG(WARNING) << "The mesos-cvmfs service is asked again: " << result.error().message;
        return process::after(Seconds(1))
          .then(process::defer(self(), [=](const Nothing&) { return patient(method, request, attempts - 1); }));
      }));
  }

  // It went while it worked, or is stopping, or hangs.
  static bool isAway(::grpc::StatusCode code)
  {
    return code == ::grpc::UNAVAILABLE || code == ::grpc::CANCELLED || code == ::grpc::DEADLINE_EXCEEDED;
  }

  const process::grpc::client::Connection connection;
  process::grpc::client::Runtime runtime;
};

RemoteProvisioner::RemoteProvisioner(const string& address) : process(new RemoteProvisionerProcess(address))
{
  process::spawn(process.get());
}

RemoteProvisioner::~RemoteProvisioner()
{
  process::terminate(process.get());
  process::wait(process.get());
}

Future<Nothing> RemoteProvisioner::recover(const hashset<ContainerID>& knownContainerIds) const
{
  return dispatch(process.get(), &RemoteProvisionerProcess::recover, knownContainerIds);
}

Future<ProvisionInfo> RemoteProvisioner::provision(const ContainerID& containerId, const Image& image) const
{
  return dispatch(process.get(), &RemoteProvisionerProcess::provision, containerId, image);
}

Future<bool> RemoteProvisioner::destroy(const ContainerID& containerId) const
{
  return dispatch(process.get(), &RemoteProvisionerProcess::destroy, containerId);
}

Future<Nothing> RemoteProvisioner::pruneImages(const vector<Image>& excludedImages) const
{
  return dispatch(process.get(), &RemoteProvisionerProcess::pruneImages, excludedImages);
}

} // namespace slave {
} // namespace internal {
} // namespace mesos {
