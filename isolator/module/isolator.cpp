// The isolator module of mesos-cvmfs: passes an agent's calls on to `mesos.cvmfs.v1.Isolator` on a unix socket
// (docs/isolator.md). All policy is there; what is here is only what nobody else can do while the service is away:
//
//   - the agent starts, and containers run and end, all the same; but a launch that asks for /cvmfs is refused;
//   - `cleanup` always succeeds: a failure would keep the agent's provisioner from removing the container;
//   - as soon as the service is back it is told everything that lives here, so that nothing that it missed is lost.

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include <mesos/mesos.hpp>
#include <mesos/type_utils.hpp>
#include <mesos/version.hpp>
#include <mesos/module/isolator.hpp>
#include <mesos/slave/isolator.hpp>

#include <process/defer.hpp>
#include <process/delay.hpp>
#include <process/dispatch.hpp>
#include <process/grpc.hpp>
#include <process/id.hpp>
#include <process/owned.hpp>

#include <stout/foreach.hpp>
#include <stout/hashmap.hpp>
#include <stout/uuid.hpp>

#include "mesos/cvmfs/v1/isolator.grpc.pb.h"

namespace mesos {
namespace cvmfs {

using std::string;
using std::vector;

using process::Failure;
using process::Future;
using process::Promise;
using process::delay;
using process::dispatch;
using process::grpc::StatusError;

using mesos::slave::ContainerConfig;
using mesos::slave::ContainerLaunchInfo;
using mesos::slave::ContainerLimitation;
using mesos::slave::ContainerState;

struct Settings
{
  string socket = "unix:///run/mesos-cvmfs/provisioner.sock";
  // Of a launch, which may wait for a repository; less than the minute after which the agent gives up on an executor.
  Duration prepareTimeout = Seconds(50);
  Duration timeout = Seconds(5);
};

// The service answers a Watch without news after 20 seconds.
const Duration WATCH_TIMEOUT = Seconds(40);

// Between two attempts to tell the service what it missed, and after a Watch that failed.
const Duration RETRY_INTERVAL = Seconds(5);

const char REQUEST_NAME[] = "CVMFS_REPOSITORIES";

// The answers that are about the container. Every other one is about the service.
static bool isRefusal(const ::grpc::Status& status)
{
  const ::grpc::StatusCode code = status.error_code();
  return code == ::grpc::INVALID_ARGUMENT || code == ::grpc::PERMISSION_DENIED || code == ::grpc::FAILED_PRECONDITION;
}

// Whether the container names repositories; which, is the service's to find out.
static bool asks(const ContainerConfig& config)
{
  bool found = false;
  Environment environment = config.command_info().environment();
  environment.MergeFrom(config.task_info().command().environment());
  foreach (const Environment::Variable& one, environment.variables()) found |= one.name() == REQUEST_NAME && !one.value().empty();
  Labels labels = config.task_info().labels();
  labels.MergeFrom(config.executor_info().labels());
  foreach (const Label& one, labels.labels()) found |= one.key() == REQUEST_NAME && !one.value().empty();
  return found;
}

// What the service looks at of a container that it missed.
static ContainerConfig missed(const ContainerConfig& config)
{
  ContainerConfig result;
  result.mutable_command_info();
  result.set_directory(config.directory());
  if (config.has_rootfs()) result.set_rootfs(config.rootfs());
  if (config.has_container_info()) result.mutable_container_info()->CopyFrom(config.container_info());
  return result;
}

// A request that says of which container it is.
template <typename Request>
static Request of(const ContainerID& containerId)
{
  Request request;
  request.mutable_container_id()->CopyFrom(containerId);
  return request;
}

class IsolatorProcess : public process::Process<IsolatorProcess>
{
public:
  explicit IsolatorProcess(const Settings& _settings)
    : ProcessBase(process::ID::generate("mesos-cvmfs-isolator")),
      settings(_settings),
      connection(connect(_settings.socket)),
      run(id::UUID::random().toString()) {}

  Future<Nothing> recover(const vector<ContainerState>& states, const hashset<ContainerID>& orphans)
  {
    foreach (const ContainerState& state, states) {
      // Only this much is looked at, and there may be thousands.
      Container& container = containers[state.container_id()];
      container.state = ContainerState();
      container.state->mutable_container_id()->CopyFrom(state.container_id());
      container.state->set_pid(state.pid());
      container.state->set_directory(state.directory());
    }
    foreach (const ContainerID& orphan, orphans) containers[orphan].orphan = true;
    return tell();
  }

  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& containerId, const ContainerConfig& config)
  {
    v1::IsolatorPrepareRequest request = of<v1::IsolatorPrepareRequest>(containerId);
    request.mutable_run()->CopyFrom(nextRun());
    request.mutable_container_config()->CopyFrom(config);
    containers[containerId].unannounced = missed(config);

    return call(&Stub::PrepareAsyncPrepare, request, settings.prepareTimeout)
      .then(process::defer(self(), [=](const Try<v1::IsolatorPrepareResponse, StatusError>& response)
          -> Future<Option<ContainerLaunchInfo>> {
        if (response.isSome()) {
          if (containers.contains(containerId)) containers.at(containerId).unannounced = None();
          if (!response->has_launch_info()) return None();
          return Option<ContainerLaunchInfo>(response->launch_info());
        }
        const string& why = response.error().message;
        if (isRefusal(response.error().status)) return Failure(response.error().status.error_message());
        if (asks(config)) {
          return Failure(string("the container asks for repositories (") + REQUEST_NAME + "), and the mesos-cvmfs service " +
                         "does not answer at " + settings.socket + " on this agent: " + why);
        }
        LOG(WARNING) << "Container " << containerId << " is launched without the mesos-cvmfs service: " << why;
        tellLater();
        return None();
      }));
  }

  // What these two say is good to know and nothing to wait for.
  void isolate(const v1::IsolatorIsolateRequest& request) { call(&Stub::PrepareAsyncIsolate, request, settings.timeout); }
  void update(const v1::IsolatorUpdateRequest& request) { call(&Stub::PrepareAsyncUpdate, request, settings.timeout); }

  Future<ContainerLimitation> watch(const ContainerID& containerId)
  {
    if (!containers.contains(containerId)) return Future<ContainerLimitation>();
    return containers.at(containerId).limitation->future();
  }

  Future<ResourceStatistics> usage(const ContainerID& containerId)
  {
    return call(&Stub::PrepareAsyncUsage, of<v1::IsolatorUsageRequest>(containerId), settings.timeout)
      .then([](const Try<v1::IsolatorUsageResponse, StatusError>& response) {
        return response.isSome() ? response->statistics() : ResourceStatistics();
      });
  }

  Future<ContainerStatus> status(const ContainerID& containerId)
  {
    return call(&Stub::PrepareAsyncStatus, of<v1::IsolatorStatusRequest>(containerId), settings.timeout)
      .then([](const Try<v1::IsolatorStatusResponse, StatusError>& response) {
        return response.isSome() ? response->status() : ContainerStatus();
      });
  }

  Future<Nothing> cleanup(const ContainerID& containerId)
  {
    containers.erase(containerId);
    return call(&Stub::PrepareAsyncCleanup, of<v1::IsolatorCleanupRequest>(containerId), settings.timeout)
      .then(process::defer(self(), [=](const Try<v1::IsolatorCleanupResponse, StatusError>& response) {
        if (response.isError()) tellLater();
        return Nothing();
      }))
      .repair([](const Future<Nothing>&) { return Nothing(); });
  }

protected:
  void initialize() override { watchAll(); }
  void finalize() override { runtime.terminate(); }

private:
  typedef v1::Isolator::Stub Stub;

  struct Container
  {
    Option<ContainerState> state; // Of a container that the agent found again when it started.
    bool orphan = false;
    Option<ContainerConfig> unannounced; // Of a container whose Prepare has not been answered.
    std::shared_ptr<Promise<ContainerLimitation>> limitation = std::make_shared<Promise<ContainerLimitation>>();
    bool limited = false;
  };

  // Tries again within a second: gRPC's own pauses grow to two minutes, in which every call would fail at once.
  static process::grpc::client::Connection connect(const string& socket)
  {
    ::grpc::ChannelArguments arguments;
    arguments.SetInt("grpc.initial_reconnect_backoff_ms", 100);
    arguments.SetInt("grpc.min_reconnect_backoff_ms", 1000);
    arguments.SetInt("grpc.max_reconnect_backoff_ms", 1000);
    return process::grpc::client::Connection(
        ::grpc::CreateCustomChannel(socket, ::grpc::InsecureChannelCredentials(), arguments));
  }

  template <typename Request, typename Response>
  Future<Try<Response, StatusError>> call(
      std::unique_ptr<::grpc::ClientAsyncResponseReader<Response>> (Stub::*method)(
          ::grpc::ClientContext*, const Request&, ::grpc::CompletionQueue*),
      const Request& request,
      const Duration& timeout)
  {
    process::grpc::client::CallOptions options;
    options.wait_for_ready = false;
    options.timeout = timeout;
    return runtime.call(connection, std::move(method), Request(request), options);
  }

  v1::IsolatorRun nextRun()
  {
    v1::IsolatorRun result;
    result.set_id(run);
    result.set_sequence(++sequence);
    return result;
  }

  // Tells the service everything that lives here; what fails is tried again until it does not.
  Future<Nothing> tell()
  {
    v1::IsolatorRecoverRequest request;
    request.mutable_run()->CopyFrom(nextRun());
    foreachpair (const ContainerID& containerId, const Container& container, containers) {
      if (container.state.isSome()) {
        request.add_states()->CopyFrom(container.state.get());
      } else if (container.orphan) {
        request.add_orphans()->CopyFrom(containerId);
      } else {
        v1::IsolatedContainer* launched = request.add_launched();
        launched->mutable_container_id()->CopyFrom(containerId);
        if (container.unannounced.isSome()) launched->mutable_container_config()->CopyFrom(container.unannounced.get());
      }
    }
    return call(&Stub::PrepareAsyncRecover, request, settings.timeout)
      .then(process::defer(self(), [=](const Try<v1::IsolatorRecoverResponse, StatusError>& response) {
        if (response.isError()) {
          LOG(WARNING) << "The mesos-cvmfs service at " << settings.socket << " does not answer, and is told later "
                       << "which containers live: " << response.error().message;
          tellLater();
          return Nothing();
        }
        foreach (const v1::IsolatedContainer& launched, request.launched()) {
          if (containers.contains(launched.container_id())) containers.at(launched.container_id()).unannounced = None();
        }
        return Nothing();
      }))
      .repair([](const Future<Nothing>&) { return Nothing(); });
  }

  void tellLater()
  {
    if (!telling) delay(RETRY_INTERVAL, self(), &IsolatorProcess::tellNow);
    telling = true;
  }

  void tellNow() { telling = false; tell(); }

  // One question at a time, about all containers.
  void watchAll()
  {
    v1::IsolatorWatchRequest request;
    foreachpair (const ContainerID& containerId, const Container& container, containers) {
      if (container.limited) request.add_limited()->CopyFrom(containerId);
    }
    call(&Stub::PrepareAsyncWatch, request, WATCH_TIMEOUT)
      .then(process::defer(self(), [=](const Try<v1::IsolatorWatchResponse, StatusError>& response) {
        if (response.isSome()) {
          foreach (const v1::IsolatedLimitation& one, response->limitations()) {
            if (!containers.contains(one.container_id())) continue;
            containers.at(one.container_id()).limited = true;
            containers.at(one.container_id()).limitation->set(one.limitation());
          }
        }
        // Never without a pause: a service might answer at once for ever.
        delay(response.isSome() ? Seconds(1) : RETRY_INTERVAL, self(), &IsolatorProcess::watchAll);
        return Nothing();
      }));
  }

  const Settings settings;
  const process::grpc::client::Connection connection;
  process::grpc::client::Runtime runtime;

  // Orders our calls for the service: a Recover that is late must not undo a Prepare.
  const string run;
  uint64_t sequence = 0;

  hashmap<ContainerID, Container> containers;
  bool telling = false;
};

// What the agent holds: every call goes to the process above.
class Isolator : public mesos::slave::Isolator
{
public:
  explicit Isolator(const Settings& settings) : process(new IsolatorProcess(settings)) { process::spawn(process.get()); }
  ~Isolator() override { process::terminate(process.get()); process::wait(process.get()); }

  bool supportsNesting() override { return true; }
  bool supportsStandalone() override { return true; }

  Future<Nothing> recover(const vector<ContainerState>& states, const hashset<ContainerID>& orphans) override
  {
    return dispatch(process.get(), &IsolatorProcess::recover, states, orphans);
  }

  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& containerId, const ContainerConfig& config) override
  {
    return dispatch(process.get(), &IsolatorProcess::prepare, containerId, config);
  }

  Future<Nothing> isolate(const ContainerID& containerId, pid_t pid) override
  {
    v1::IsolatorIsolateRequest request = of<v1::IsolatorIsolateRequest>(containerId);
    request.set_pid(pid);
    dispatch(process.get(), &IsolatorProcess::isolate, request);
    return Nothing();
  }

  Future<Nothing> update(const ContainerID& containerId, const Resources& resources
#if MESOS_MAJOR_VERSION_NUM > 1 || MESOS_MINOR_VERSION_NUM >= 10 // Limits came with 1.10.
      , const google::protobuf::Map<string, Value::Scalar>& limits
#endif
      ) override
  {
    v1::IsolatorUpdateRequest request = of<v1::IsolatorUpdateRequest>(containerId);
    foreach (const Resource& resource, resources) request.add_resources()->CopyFrom(resource);
#if MESOS_MAJOR_VERSION_NUM > 1 || MESOS_MINOR_VERSION_NUM >= 10
    for (auto limit = limits.begin(); limit != limits.end(); ++limit) {
      v1::IsolatedLimit* added = request.add_limits();
      added->set_name(limit->first);
      added->mutable_value()->CopyFrom(limit->second);
    }
#endif
    dispatch(process.get(), &IsolatorProcess::update, request);
    return Nothing();
  }

  Future<ContainerLimitation> watch(const ContainerID& id) override { return dispatch(process.get(), &IsolatorProcess::watch, id); }
  Future<ResourceStatistics> usage(const ContainerID& id) override { return dispatch(process.get(), &IsolatorProcess::usage, id); }
  Future<ContainerStatus> status(const ContainerID& id) override { return dispatch(process.get(), &IsolatorProcess::status, id); }
  Future<Nothing> cleanup(const ContainerID& id) override { return dispatch(process.get(), &IsolatorProcess::cleanup, id); }

private:
  process::Owned<IsolatorProcess> process;
};

// Null, with the reason in the agent's log, keeps the agent from starting: a misspelt parameter is found out at once.
static mesos::slave::Isolator* create(const Parameters& parameters)
{
  Settings settings;
  foreach (const Parameter& parameter, parameters.parameter()) {
    const Try<Duration> duration = Duration::parse(parameter.value());
    const bool positive = duration.isSome() && duration.get() > Duration::zero();
    if (parameter.key() == "socket") settings.socket = parameter.value();
    else if (parameter.key() == "timeout" && positive) settings.timeout = duration.get();
    else if (parameter.key() == "prepare_timeout" && positive) settings.prepareTimeout = duration.get();
    else {
      LOG(ERROR) << "org_mesos_cvmfs_Isolator takes socket, timeout and prepare_timeout, these as durations such as "
                 << "'5secs'; got '" << parameter.key() << "' = '" << parameter.value() << "'";
      return nullptr;
    }
  }
  return new Isolator(settings);
}

} // namespace cvmfs {
} // namespace mesos {

mesos::modules::Module<mesos::slave::Isolator> org_mesos_cvmfs_Isolator(
    MESOS_MODULE_API_VERSION, MESOS_VERSION, "mesos-cvmfs", "root@localhost",
    "Tells the mesos-cvmfs service of this agent's containers, and gives them /cvmfs.", nullptr, mesos::cvmfs::create);
