// What the isolator module uses of Mesos, stout and libprocess, small and working: written from the description of their
// interfaces, so that the module can be compiled, and run against the service, where no Mesos is. It is no copy, and says
// nothing about how Mesos does these things; against Mesos' own headers the module is built by hand (docs/isolator.md).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <google/protobuf/map.h>
#include <grpcpp/grpcpp.h>

#include "mesos/mesos.pb.h"
#include "mesos/slave/containerizer.pb.h"

#define LOG(severity) (std::cerr << "\n" #severity " ")
#define foreach(what, in) for (what : in)
#define foreachpair(key, what, in) \
  for (auto& _pair : in) \
    if (bool _once = true) \
      for (key = _pair.first; _once;) \
        for (what = _pair.second; _once; _once = false)

// stout

struct Nothing {};
struct None {};

template <typename T>
class Option
{
public:
  Option() {}
  Option(const None&) {}
  Option(const T& t) : value(std::make_shared<T>(t)) {}
  bool isSome() const { return value != nullptr; }
  const T& get() const { return *value; }
  T* operator->() { return value.get(); }

private:
  std::shared_ptr<T> value;
};

struct Error
{
  explicit Error(const std::string& text) : message(text) {}
  std::string message;
};

template <typename T, typename E = Error>
class Try
{
public:
  Try(const T& t) : value(std::make_shared<T>(t)) {}
  Try(const E& e) : failure(std::make_shared<E>(e)) {}
  bool isSome() const { return value != nullptr; }
  bool isError() const { return failure != nullptr; }
  const T& get() const { return *value; }
  const T* operator->() const { return value.get(); }
  const E& error() const { return *failure; }

private:
  std::shared_ptr<T> value;
  std::shared_ptr<E> failure;
};

class Duration
{
public:
  explicit Duration(double s = 0) : seconds(s) {}
  static Duration zero() { return Duration(0); }
  static Try<Duration> parse(const std::string& text)
  {
    size_t unit = 0;
    double value = 0;
    try { value = std::stod(text, &unit); } catch (...) { return Error("not a number"); }
    const std::string name = text.substr(unit);
    if (name == "ms") return Duration(value / 1000);
    return name == "secs" ? Try<Duration>(Duration(value)) : Try<Duration>(Error("unknown unit"));
  }
  bool operator>(const Duration& that) const { return seconds > that.seconds; }
  double seconds;
};

inline Duration Seconds(double s) { return Duration(s); }

namespace mesos {

inline bool operator==(const ContainerID& a, const ContainerID& b) { return a.SerializeAsString() == b.SerializeAsString(); }
inline std::ostream& operator<<(std::ostream& out, const ContainerID& id) { return out << id.value(); }

// Not among the messages that we need of Mesos.
struct Parameter
{
  std::string key_, value_;
  const std::string& key() const { return key_; }
  const std::string& value() const { return value_; }
};

struct Parameters
{
  std::vector<Parameter> list;
  const std::vector<Parameter>& parameter() const { return list; }
};

typedef std::vector<Resource> Resources;

} // namespace mesos {

namespace std {
template <>
struct hash<mesos::ContainerID>
{
  size_t operator()(const mesos::ContainerID& id) const { return hash<string>()(id.SerializeAsString()); }
};
} // namespace std {

template <typename K, typename V>
struct hashmap : std::unordered_map<K, V>
{
  bool contains(const K& key) const { return this->count(key) > 0; }
};

template <typename T>
struct hashset : std::unordered_set<T> {};

namespace id {
struct UUID
{
  static UUID random() { return UUID(); }
  std::string toString() const { return std::to_string(std::chrono::system_clock::now().time_since_epoch().count()); }
};
} // namespace id {

// libprocess

namespace process {

// Runs everything that is dispatched, one thing after the other, and what is delayed at its time.
class Loop
{
public:
  static Loop& instance()
  {
    static Loop* loop = new Loop();
    return *loop;
  }

  void post(std::function<void()> work, double afterSeconds = 0)
  {
    std::lock_guard<std::mutex> lock(mutex);
    due.emplace(Clock::now() + std::chrono::microseconds(int64_t(afterSeconds * 1e6)), std::move(work));
    changed.notify_one();
  }

private:
  typedef std::chrono::steady_clock Clock;

  Loop() { std::thread([this] { run(); }).detach(); }

  void run()
  {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      if (due.empty()) changed.wait(lock);
      else if (due.begin()->first > Clock::now()) changed.wait_until(lock, due.begin()->first);
      else {
        std::function<void()> work = std::move(due.begin()->second);
        due.erase(due.begin());
        lock.unlock();
        work();
        lock.lock();
      }
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::multimap<Clock::time_point, std::function<void()>> due;
};

struct Failure : Error
{
  using Error::Error;
};

struct Process_;

// A function that runs in a process.
template <typename F>
struct Deferred
{
  std::weak_ptr<Process_> process;
  F function;
};

template <typename T>
class Future;

// What a function returns, or what the future that it returns will be.
template <typename X>
struct Unwrap { typedef X type; };
template <typename X>
struct Unwrap<Future<X>> { typedef X type; };

template <typename T>
class Future
{
public:

  Future() : state(std::make_shared<State>()) {}
  Future(const T& value) : Future() { set(value); }
  Future(const None& none) : Future() { set(T(none)); }
  Future(const Failure& failure) : Future() { fail(failure.message); }

  void set(const T& value) const { settle([&] { state->value = std::make_shared<T>(value); }); }
  void fail(const std::string& text) const { settle([&] { state->failure = std::make_shared<std::string>(text); }); }

  // False when nothing came of it in that time.
  bool await(double seconds) const
  {
    std::unique_lock<std::mutex> lock(state->mutex);
    return state->changed.wait_for(lock, std::chrono::milliseconds(int64_t(seconds * 1000)), [&] { return state->value || state->failure; });
  }
  bool isReady() const { return state->value != nullptr; }
  const T& get() const { return *state->value; }
  const std::string& failure() const { return *state->failure; }

  void onAny(std::function<void(const Future<T>&)> work) const
  {
    std::unique_lock<std::mutex> lock(state->mutex);
    if (!state->value && !state->failure) return state->waiting.push_back(std::move(work));
    lock.unlock();
    work(*this);
  }

  void become(const Future<T>& other) const
  {
    Future<T> mine = *this;
    other.onAny([mine](const Future<T>& done) { done.isReady() ? mine.set(done.get()) : mine.fail(done.failure()); });
  }

  template <typename F>
  auto then(F function) const -> Future<typename Unwrap<decltype(function(std::declval<const T&>()))>::type>
  {
    typedef Future<typename Unwrap<decltype(function(std::declval<const T&>()))>::type> Result;
    Result result;
    onAny([=](const Future<T>& done) mutable { done.isReady() ? result.become(Result(function(done.get()))) : result.fail(done.failure()); });
    return result;
  }

  template <typename F>
  auto then(Deferred<F> deferred) const -> Future<typename Unwrap<decltype(deferred.function(std::declval<const T&>()))>::type>;

  template <typename F>
  Future<T> repair(F function) const
  {
    Future<T> result;
    onAny([=](const Future<T>& done) mutable { result.become(done.isReady() ? done : Future<T>(function(done))); });
    return result;
  }

private:
  struct State
  {
    std::mutex mutex;
    std::condition_variable changed;
    std::shared_ptr<T> value;
    std::shared_ptr<std::string> failure;
    std::vector<std::function<void(const Future<T>&)>> waiting;
  };

  template <typename F>
  void settle(F change) const
  {
    std::vector<std::function<void(const Future<T>&)>> waiting;
    {
      std::lock_guard<std::mutex> lock(state->mutex);
      if (state->value || state->failure) return;
      change();
      waiting.swap(state->waiting);
      state->changed.notify_all();
    }
    for (auto& work : waiting) work(*this);
  }

  std::shared_ptr<State> state;
};

template <typename T>
struct Promise
{
  Future<T> future() const { return shared; }
  void set(const T& value) { shared.set(value); }
  Future<T> shared;
};

template <typename T>
using Owned = std::shared_ptr<T>;

namespace ID {
inline std::string generate(const std::string& prefix) { return prefix; }
} // namespace ID {

// The life of a process: what was posted to one that has ended is not run.
struct Process_
{
  bool ended = false;
};

class ProcessBase
{
public:
  explicit ProcessBase(const std::string& = "") : life(std::make_shared<Process_>()) {}
  virtual ~ProcessBase() {}
  virtual void initialize() {}
  virtual void finalize() {}
  std::shared_ptr<Process_> life;
};

template <typename T>
struct PID
{
  std::weak_ptr<Process_> life;
  T* process;
};

template <typename T>
class Process : public virtual ProcessBase
{
public:
  PID<T> self() { return PID<T>{life, static_cast<T*>(this)}; }
};

inline void post(const std::weak_ptr<Process_>& process, std::function<void()> work, double after = 0)
{
  Loop::instance().post([=] {
    std::shared_ptr<Process_> life = process.lock();
    if (life != nullptr && !life->ended) work();
  }, after);
}

inline void spawn(ProcessBase* process) { post(process->life, [=] { process->initialize(); }); }

inline void terminate(ProcessBase* process)
{
  Future<Nothing> done;
  post(process->life, [=] { process->life->ended = true; process->finalize(); done.set(Nothing()); });
  done.await(10);
}

inline void wait(ProcessBase*) {}

template <typename R, typename T, typename... P, typename... A>
Future<R> dispatch(T* process, Future<R> (T::*method)(P...), A... arguments)
{
  Future<R> result;
  post(process->life, [=] { result.become((process->*method)(arguments...)); });
  return result;
}

template <typename T, typename... P, typename... A>
void dispatch(T* process, void (T::*method)(P...), A... arguments)
{
  post(process->life, [=] { (process->*method)(arguments...); });
}

template <typename T>
void delay(const Duration& duration, const PID<T>& pid, void (T::*method)())
{
  T* process = pid.process;
  post(pid.life, [=] { (process->*method)(); }, duration.seconds);
}

template <typename T, typename F>
Deferred<F> defer(const PID<T>& pid, F function)
{
  return Deferred<F>{pid.life, function};
}

template <typename T>
template <typename F>
auto Future<T>::then(Deferred<F> deferred) const -> Future<typename Unwrap<decltype(deferred.function(std::declval<const T&>()))>::type>
{
  typedef Future<typename Unwrap<decltype(deferred.function(std::declval<const T&>()))>::type> Result;
  Result result;
  onAny([=](const Future<T>& done) {
    if (!done.isReady()) return result.fail(done.failure());
    post(deferred.process, [=] { F function = deferred.function; result.become(Result(function(done.get()))); });
  });
  return result;
}

namespace grpc {

struct StatusError : Error
{
  explicit StatusError(const ::grpc::Status& s) : Error(s.error_message()), status(s) {}
  ::grpc::Status status;
};

namespace client {

struct Connection
{
  explicit Connection(std::shared_ptr<::grpc::Channel> c) : channel(c) {}
  std::shared_ptr<::grpc::Channel> channel;
};

struct CallOptions
{
  bool wait_for_ready = true;
  Duration timeout = Seconds(60);
};

class Runtime
{
public:
  Runtime() : queue(std::make_shared<::grpc::CompletionQueue>())
  {
    std::shared_ptr<::grpc::CompletionQueue> mine = queue;
    std::thread([mine] {
      void* tag;
      for (bool ok; mine->Next(&tag, &ok);) {
        std::unique_ptr<std::function<void()>> done(static_cast<std::function<void()>*>(tag));
        (*done)();
      }
    }).detach();
  }

  void terminate() { queue->Shutdown(); }

  template <typename Stub, typename Request, typename Response>
  Future<Try<Response, StatusError>> call(
      const Connection& connection,
      std::unique_ptr<::grpc::ClientAsyncResponseReader<Response>> (Stub::*method)(::grpc::ClientContext*, const Request&, ::grpc::CompletionQueue*),
      const Request& request,
      const CallOptions& options)
  {
    Future<Try<Response, StatusError>> result;
    auto context = std::make_shared<::grpc::ClientContext>();
    context->set_wait_for_ready(options.wait_for_ready);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(int64_t(options.timeout.seconds * 1000)));
    auto response = std::make_shared<Response>();
    auto status = std::make_shared<::grpc::Status>();
    std::shared_ptr<::grpc::ClientAsyncResponseReader<Response>> reader = (Stub(connection.channel).*method)(context.get(), request, queue.get());
    reader->StartCall();
    reader->Finish(response.get(), status.get(), new std::function<void()>([=] {
      (void) context; // Lives as long as the call.
      (void) reader;
      result.set(status->ok() ? Try<Response, StatusError>(*response) : Try<Response, StatusError>(StatusError(*status)));
    }));
    return result;
  }

private:
  std::shared_ptr<::grpc::CompletionQueue> queue;
};

} // namespace client {
} // namespace grpc {
} // namespace process {

// Mesos

#define MESOS_VERSION "1.12.0"
#define MESOS_MAJOR_VERSION_NUM 1
#define MESOS_MINOR_VERSION_NUM 12
#define MESOS_MODULE_API_VERSION "2"

namespace mesos {
namespace slave {

class Isolator
{
public:
  virtual ~Isolator() {}
  virtual bool supportsNesting() = 0;
  virtual bool supportsStandalone() = 0;
  virtual process::Future<Nothing> recover(const std::vector<ContainerState>&, const hashset<ContainerID>&) = 0;
  virtual process::Future<Option<ContainerLaunchInfo>> prepare(const ContainerID&, const ContainerConfig&) = 0;
  virtual process::Future<Nothing> isolate(const ContainerID&, pid_t) = 0;
  virtual process::Future<ContainerLimitation> watch(const ContainerID&) = 0;
  virtual process::Future<Nothing> update(const ContainerID&, const Resources&, const google::protobuf::Map<std::string, Value::Scalar>&) = 0;
  virtual process::Future<ResourceStatistics> usage(const ContainerID&) = 0;
  virtual process::Future<ContainerStatus> status(const ContainerID&) = 0;
  virtual process::Future<Nothing> cleanup(const ContainerID&) = 0;
};

} // namespace slave {

namespace modules {

template <typename T>
struct Module
{
  Module(const char* api, const char* version, const char* author, const char* email, const char* text, bool (*able)(), T* (*make)(const Parameters&))
    : moduleApiVersion(api), mesosVersion(version), authorName(author), authorEmail(email), description(text), compatible(able), create(make) {}
  const char *moduleApiVersion, *mesosVersion, *authorName, *authorEmail, *description;
  bool (*compatible)();
  T* (*create)(const Parameters&);
};

} // namespace modules {
} // namespace mesos {
