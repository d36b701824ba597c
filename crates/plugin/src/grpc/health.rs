//! `grpc.health.v1`: a plugin that answers at all is up; the chain's own health is another call.

use tonic::{Request, Response, Status, async_trait};

use super::wire::health::health_check_response::ServingStatus;
use super::wire::health::health_server::{self, HealthServer};
use super::wire::health::{HealthCheckRequest, HealthCheckResponse};

/// Makes the server.
pub(super) fn server() -> HealthServer<impl health_server::Health> {
    HealthServer::new(Serving)
}

struct Serving;

#[async_trait]
impl health_server::Health for Serving {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }
}
