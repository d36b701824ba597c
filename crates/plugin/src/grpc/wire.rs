//! The generated messages, clients and servers; which is which is in `docs/wire/grpc.md`.

/// Blocks and the life of the chain.
pub mod vm {
    tonic::include_proto!("vm");

    /// The handshake.
    pub mod runtime {
        tonic::include_proto!("vm.runtime");
    }
}

/// The host's database.
pub mod rpcdb {
    tonic::include_proto!("rpcdb");
}

/// The host's network.
pub mod appsender {
    tonic::include_proto!("appsender");
}

/// HTTP requests.
pub mod http {
    tonic::include_proto!("http");

    /// Answers piece by piece.
    pub mod responsewriter {
        tonic::include_proto!("http.responsewriter");
    }
}

/// The details of an error.
pub mod rpc {
    tonic::include_proto!("google.rpc");
}

/// The conventional health check.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
