// The client in gRPC C++ of the benchmark; prints what it measured as a line of JSON.
//
//	cpp-client ADDRESS latency SEC      calls one after another, by the blocking stub
//	cpp-client ADDRESS calls SEC COUNT  COUNT calls under way at any time, by a completion queue

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "bench.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr char kSentence[] = "hello I am good hello bye bye bye good night hello";
constexpr double kWarmUpSec = 0.2;

Clock::time_point After(double sec)
{
        return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(sec));
}

double SecondsSince(Clock::time_point start)
{
        return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void Fail(const grpc::Status &status)
{
        std::cerr << "cpp-client: " << status.error_code() << ": " << status.error_message() << "\n";
        std::exit(1);
}

void Deadline(grpc::ClientContext *context)
{
        context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
}

void Latency(rpcbench::Bench::Stub *stub, double sec)
{
        std::vector<double> us;
        rpcbench::Payload request, reply;
        const auto start = After(kWarmUpSec), end = After(kWarmUpSec + sec);

        request.set_data(kSentence);
        for (auto now = Clock::now(); now < end;) {
                grpc::ClientContext context;
                Deadline(&context);
                const grpc::Status status = stub->Echo(&context, request, &reply);
                if (!status.ok())
                        Fail(status);
                const auto after = Clock::now();
                if (now >= start)
                        us.push_back(std::chrono::duration<double, std::micro>(after - now).count());
                now = after;
        }
        std::sort(us.begin(), us.end());
        std::printf("{\"calls\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", us.size(), us[(us.size() - 1) / 2],
                    us[(us.size() - 1) * 99 / 100]);
}

struct Call {
        std::unique_ptr<grpc::ClientContext> context;
        std::unique_ptr<grpc::ClientAsyncResponseReader<rpcbench::Payload>> reader;
        rpcbench::Payload reply;
        grpc::Status status;
};

void Start(rpcbench::Bench::Stub *stub, grpc::CompletionQueue *queue, const rpcbench::Payload &request, Call *call)
{
        call->reader.reset();
        call->context = std::make_unique<grpc::ClientContext>();
        Deadline(call->context.get());
        call->reader = stub->AsyncEcho(call->context.get(), request, queue);
        call->reader->Finish(&call->reply, &call->status, call);
}

double KeepBusy(rpcbench::Bench::Stub *stub, double sec, size_t count, long *ret_calls)
{
        grpc::CompletionQueue queue;
        std::vector<Call> calls(count);
        rpcbench::Payload request;
        const auto start = Clock::now(), end = After(sec);
        long done = 0;
        void *tag;
        bool ok;

        request.set_data(kSentence);
        for (auto &call : calls)
                Start(stub, &queue, request, &call);
        for (size_t outstanding = count; outstanding > 0 && queue.Next(&tag, &ok);) {
                Call *call = static_cast<Call *>(tag);
                if (!call->status.ok())
                        Fail(call->status);
                done++;
                if (Clock::now() < end)
                        Start(stub, &queue, request, call);
                else
                        outstanding--;
        }
        *ret_calls = done;
        return static_cast<double>(done) / SecondsSince(start);
}

} // namespace

int main(int argc, char *argv[])
{
        if (argc < 4) {
                std::cerr << "usage: cpp-client ADDRESS latency SEC | calls SEC COUNT\n";
                return 2;
        }
        auto stub = rpcbench::Bench::NewStub(grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
        const double sec = std::stod(argv[3]);
        if (std::string(argv[2]) == "latency")
                Latency(stub.get(), sec);
        else {
                const size_t count = argc > 4 ? std::stoul(argv[4]) : 64;
                long before, calls;
                KeepBusy(stub.get(), kWarmUpSec, count, &before);
                const double rate = KeepBusy(stub.get(), sec, count, &calls);
                std::printf("{\"calls\": %ld, \"per_s\": %.0f}\n", before + calls, rate);
        }
}
