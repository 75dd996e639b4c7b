// Loads the isolator module as an agent does and calls it, or calls the service itself, as lines of standard input say:
//
//   <method> <request as JSON>         recover, prepare, isolate, watch, update, usage, status, cleanup of the module
//   <Method> <request as JSON>         the same methods of the service, without the module
//
// and answers each with one line: `ready <JSON>`, `failed <text>`, `pending`. Requests are those of
// mesos/cvmfs/v1/isolator.proto. Usage: host <module> <address> [<parameter>=<value>…]
#include <dlfcn.h>

#include <iostream>
#include <string>

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <mesos/module/isolator.hpp>
#include <mesos/slave/isolator.hpp>

#include "mesos/cvmfs/v1/isolator.grpc.pb.h"

using namespace mesos;
using std::string;

namespace v1 = mesos::cvmfs::v1;

// Longer than any call of the module may take here.
const double WAIT_SECONDS = 20;
const double WATCH_SECONDS = 5;

template <typename Message>
static Message parse(const string& json)
{
  Message message;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &message);
  if (!status.ok()) std::cerr << "not a request: " << status.ToString() << std::endl;
  return message;
}

static string shown(const google::protobuf::Message& message)
{
  // What an isolator gives the agent to merge may be empty although a member is required.
  if (!message.IsInitialized()) return "{}";
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  string json;
  (void) google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

static string shown(const Nothing&) { return "{}"; }
static string shown(const Option<slave::ContainerLaunchInfo>& info) { return info.isSome() ? shown(info.get()) : "null"; }

template <typename T>
static string outcome(const process::Future<T>& future, double seconds = WAIT_SECONDS)
{
#ifdef STUB
  if (!future.await(seconds)) return "pending";
#else
  if (!future.await(Milliseconds(int64_t(seconds * 1000)))) return "pending";
#endif
  return future.isReady() ? "ready " + shown(future.get()) : "failed " + future.failure();
}

template <typename Request, typename Response>
static string direct(
    v1::Isolator::Stub* stub,
    ::grpc::Status (v1::Isolator::Stub::*method)(::grpc::ClientContext*, const Request&, Response*),
    const string& json)
{
  ::grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(int(WAIT_SECONDS)));
  Response response;
  const ::grpc::Status status = (stub->*method)(&context, parse<Request>(json), &response);
  return status.ok() ? "ready " + shown(response) : "failed " + std::to_string(status.error_code()) + " " + status.error_message();
}

int main(int argc, char** argv)
{
  void* library = dlopen(argv[1], RTLD_NOW);
  if (library == nullptr) {
    std::cerr << dlerror() << std::endl;
    return 1;
  }
  auto* module = static_cast<modules::Module<slave::Isolator>*>(dlsym(library, "org_mesos_cvmfs_Isolator"));
  Parameters parameters;
  for (int i = 3; i < argc; i++) {
    const string text = argv[i];
    const size_t at = text.find('=');
#ifdef STUB
    parameters.list.push_back(Parameter{text.substr(0, at), text.substr(at + 1)});
#else
    Parameter* parameter = parameters.add_parameter();
    parameter->set_key(text.substr(0, at));
    parameter->set_value(text.substr(at + 1));
#endif
  }
  slave::Isolator* isolator = module->create(parameters);
  if (isolator == nullptr) return 2;
  std::cout << "ready " << module->mesosVersion << " " << isolator->supportsNesting() << isolator->supportsStandalone() << std::endl;
  auto stub = v1::Isolator::NewStub(::grpc::CreateChannel(argv[2], ::grpc::InsecureChannelCredentials()));

  for (string line; std::getline(std::cin, line);) {
    const size_t space = line.find(' ');
    const string method = line.substr(0, space), json = line.substr(space + 1);
    string answer;
    if (method == "recover") {
      const v1::IsolatorRecoverRequest request = parse<v1::IsolatorRecoverRequest>(json);
      hashset<ContainerID> orphans;
      for (const ContainerID& orphan : request.orphans()) orphans.insert(orphan);
      answer = outcome(isolator->recover({request.states().begin(), request.states().end()}, orphans));
    } else if (method == "prepare") {
      const v1::IsolatorPrepareRequest request = parse<v1::IsolatorPrepareRequest>(json);
      answer = outcome(isolator->prepare(request.container_id(), request.container_config()));
    } else if (method == "isolate") {
      const v1::IsolatorIsolateRequest request = parse<v1::IsolatorIsolateRequest>(json);
      answer = outcome(isolator->isolate(request.container_id(), request.pid()));
    } else if (method == "update") {
      const v1::IsolatorUpdateRequest request = parse<v1::IsolatorUpdateRequest>(json);
      google::protobuf::Map<string, Value::Scalar> limits;
      for (const v1::IsolatedLimit& limit : request.limits()) limits[limit.name()] = limit.value();
#ifdef STUB
      const Resources resources(request.resources().begin(), request.resources().end());
#else
      const Resources resources; // What they are made of is in libmesos.
#endif
      answer = outcome(isolator->update(request.container_id(), resources, limits));
    } else if (method == "watch") {
      answer = outcome(isolator->watch(parse<v1::IsolatorCleanupRequest>(json).container_id()), WATCH_SECONDS);
    } else if (method == "usage") {
      answer = outcome(isolator->usage(parse<v1::IsolatorUsageRequest>(json).container_id()));
    } else if (method == "status") {
      answer = outcome(isolator->status(parse<v1::IsolatorStatusRequest>(json).container_id()));
    } else if (method == "cleanup") {
      answer = outcome(isolator->cleanup(parse<v1::IsolatorCleanupRequest>(json).container_id()));
    } else if (method == "Recover") {
      answer = direct(stub.get(), &v1::Isolator::Stub::Recover, json);
    } else if (method == "Prepare") {
      answer = direct(stub.get(), &v1::Isolator::Stub::Prepare, json);
    } else if (method == "Watch") {
      answer = direct(stub.get(), &v1::Isolator::Stub::Watch, json);
    } else if (method == "Usage") {
      answer = direct(stub.get(), &v1::Isolator::Stub::Usage, json);
    } else if (method == "Cleanup") {
      answer = direct(stub.get(), &v1::Isolator::Stub::Cleanup, json);
    } else {
      answer = "failed unknown method " + method;
    }
    std::cout << answer << std::endl;
  }
  delete isolator;
  // Threads of the runtime end with the process.
  _exit(0);
}
