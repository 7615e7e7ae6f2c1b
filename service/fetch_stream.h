// One running Fetch rpc.
#ifndef POLARKV_SERVICE_FETCH_STREAM_H_
#define POLARKV_SERVICE_FETCH_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "service/service_context.h"

namespace polarkv {

// The reactor deletes itself when the rpc is done.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartFetch(ServiceContext& context, grpc::CallbackServerContext* call,
                                                       const grpc::ByteBuffer& request);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_FETCH_STREAM_H_
