// The peer of the benchmark in gRPC C++: a server with completion queues, the fastest of its ways to serve.
//
//	cpp-server ADDRESS [THREADS]    prints "listening on ADDRESS", serves until standard input ends
//
// Each thread has a queue of its own with calls posted in advance; a call's object serves again when it is done.

#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench.grpc.pb.h"

namespace {

constexpr int kPostedPerQueue = 512;

class Call {
public:
        Call(rpcbench::Bench::AsyncService *service, grpc::ServerCompletionQueue *queue)
                : service_(service), queue_(queue)
        {
                Post();
        }

        void Proceed()
        {
                if (!answered_) {
                        answered_ = true;
                        reply_.set_data(request_.data());
                        responder_->Finish(reply_, grpc::Status::OK, this);
                } else
                        Post();
        }

private:
        void Post()
        {
                answered_ = false;
                responder_.reset();
                context_ = std::make_unique<grpc::ServerContext>();
                responder_ = std::make_unique<grpc::ServerAsyncResponseWriter<rpcbench::Payload>>(
                        context_.get());
                service_->RequestEcho(context_.get(), &request_, responder_.get(), queue_, queue_, this);
        }

        rpcbench::Bench::AsyncService *service_;
        grpc::ServerCompletionQueue *queue_;
        std::unique_ptr<grpc::ServerContext> context_;
        std::unique_ptr<grpc::ServerAsyncResponseWriter<rpcbench::Payload>> responder_;
        rpcbench::Payload request_, reply_;
        bool answered_ = false;
};

void Serve(rpcbench::Bench::AsyncService *service, grpc::ServerCompletionQueue *queue)
{
        std::vector<std::unique_ptr<Call>> calls;
        void *tag;
        bool ok;

        for (int i = 0; i < kPostedPerQueue; i++)
                calls.push_back(std::make_unique<Call>(service, queue));
        while (queue->Next(&tag, &ok))
                if (ok)
                        static_cast<Call *>(tag)->Proceed();
}

} // namespace

int main(int argc, char *argv[])
{
        const int threads = argc > 2 ? std::stoi(argv[2]) : 1;
        rpcbench::Bench::AsyncService service;
        grpc::ServerBuilder builder;
        int port = 0;

        if (argc < 2) {
                std::cerr << "usage: cpp-server ADDRESS [THREADS]\n";
                return 2;
        }
        builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials(), &port);
        builder.RegisterService(&service);
        std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
        for (int i = 0; i < threads; i++)
                queues.push_back(builder.AddCompletionQueue());
        std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
        if (!server)
                return 1;

        std::vector<std::thread> servers;
        for (auto &queue : queues)
                servers.emplace_back(Serve, &service, queue.get());
        std::cout << "listening on 127.0.0.1:" << port << std::endl;
        std::cin.ignore(std::numeric_limits<std::streamsize>::max());
        // The process ends here: calls under way are nobody's any more.
        _exit(0);
}
