//! The pages and changes as a service, for routers that take one.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tower_service::Service;

use super::admin::Admin;
use super::answer::Answer;

impl Admin {
    /// The same as a service of tower's, for a router that takes one, whatever the body of its requests: axum, hyper, tonic. It reads a
    /// body up to [`BODY_MAX`](Self::BODY_MAX) and answers on tokio's blocking pool, since some pages take milliseconds.
    ///
    /// ```
    /// use axum::routing::Router;
    /// use switchback::admin::Admin;
    ///
    /// fn router(admin: Admin) -> Router {
    ///     let service = admin.under("/switchback").service();
    ///     let routes = ["/switchback", "/switchback/", "/switchback/{*path}"]; // the last is never without a path
    ///     routes.iter().fold(Router::new(), |router, path| router.route_service(path, service.clone()))
    /// }
    /// ```
    pub fn service(&self) -> AdminService {
        AdminService { admin: self.clone() }
    }
}

/// An [`Admin`] as a service of tower's. It is always ready, and fails never: what is wrong with a request is said in a response. Asked
/// outside of a runtime of tokio's it answers 500.
#[derive(Debug, Clone)]
pub struct AdminService {
    admin: Admin,
}

/// The body of an answer: whole, in one piece.
#[derive(Clone)]
pub struct AdminBody(Bytes);

impl<B> Service<Request<B>> for AdminService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<AdminBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = self.admin.clone();
        Box::pin(async move {
            let failed = |status, why| whole(Answer::refused(status, why).into_response());
            let (parts, body) = request.into_parts();
            let Some(body) = collected(body).await else {
                return Ok(failed(StatusCode::BAD_REQUEST, "the body did not come whole"));
            };
            let Ok(runtime) = Handle::try_current() else {
                return Ok(failed(StatusCode::INTERNAL_SERVER_ERROR, "there is no runtime of tokio's here"));
            };
            let answer = move || whole(admin.respond(Request::from_parts(parts, body)));
            let answered = runtime.spawn_blocking(answer).await;
            Ok(answered.unwrap_or_else(|_| {
                failed(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "nobody knows whether it was done: the runtime ends, or code of the service's panicked",
                )
            }))
        })
    }
}

/// The bytes of a body. Of one that is too large one more than is taken, so that `respond` says itself what is too much. `None` where it
/// breaks off.
async fn collected<B: Body>(body: B) -> Option<Vec<u8>> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        // Trailers say nothing.
        let Ok(mut data) = frame.ok()?.into_data() else { continue };
        while data.has_remaining() {
            let room = Admin::BODY_MAX + 1 - bytes.len();
            let chunk = data.chunk();
            let read = chunk.len().min(room);
            bytes.extend_from_slice(&chunk[..read]);
            data.advance(read);
            if bytes.len() > Admin::BODY_MAX {
                return Some(bytes);
            }
        }
    }
    Some(bytes)
}

fn whole(response: Response<Vec<u8>>) -> Response<AdminBody> {
    response.map(|bytes| AdminBody(bytes.into()))
}

impl Body for AdminBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl fmt::Debug for AdminBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdminBody").field(&self.0.len()).finish()
    }
}
