//! What lies around our own routes, and around nothing else: the check of forms from other sites, and the headers of
//! every answer. One service that waits for nothing of its own, so that a request costs no more than its handler.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::{Either, Map, Ready, ready};
use tower::{Layer, Service};

use crate::Vestibule;

use super::{answer, csrf};

/// The layer. [`Edge::guarding`] lies on routes that read cookies, [`Edge::dressing`] on those that read none.
#[derive(Clone)]
pub(super) struct Edge {
    vestibule: Vestibule,
    guards: bool,
}

impl Edge {
    /// Refuses forms of other sites, and sets the headers.
    pub(super) fn guarding(vestibule: &Vestibule) -> Self {
        Self {
            vestibule: vestibule.clone(),
            guards: true,
        }
    }

    /// Sets the headers.
    pub(super) fn dressing(vestibule: &Vestibule) -> Self {
        Self {
            vestibule: vestibule.clone(),
            guards: false,
        }
    }
}

impl<S> Layer<S> for Edge {
    type Service = Edged<S>;

    fn layer(&self, inner: S) -> Edged<S> {
        Edged {
            inner,
            edge: self.clone(),
        }
    }
}

/// A route of ours with its edge.
#[derive(Clone)]
pub(super) struct Edged<S> {
    inner: S,
    edge: Edge,
}

type Dress = Box<dyn FnOnce(Result<Response, Infallible>) -> Result<Response, Infallible> + Send>;

impl<S> Service<Request> for Edged<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, Map<S::Future, Dress>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let vestibule = &self.edge.vestibule;
        if self.edge.guards
            && let Err(refusal) = csrf::check(vestibule, &request)
        {
            let mut refusal = *refusal;
            answer::dress(vestibule, &mut refusal);
            return Either::Left(ready(Ok(refusal)));
        }
        let vestibule = vestibule.clone();
        let dress: Dress = Box::new(move |answered| {
            let mut response = answered?;
            answer::dress(&vestibule, &mut response);
            Ok(response)
        });
        Either::Right(self.inner.call(request).map(dress))
    }
}
