//! The routes of people, operators and their tools: an ordinary axum router.
//!
//! To add a route, add a line to [`router`] and a handler as in any axum application. The state of a handler is
//! the [`Api`], and its error may be a [`Refusal`]. Metrics, logs, and answers with status 404 and 405 need
//! nothing more.

use std::{pin::pin, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
    routing::{MethodRouter, any, get, post},
};

use crate::{
    api::Api,
    compression, listing,
    metrics::RequestGroup::{self, List, Operate},
    observed::{Labels, LogFields, ObservedRoute, RequestInfo, observed},
    peers,
    refusal::Refusal,
    semaphores::{self, SemaphoreName},
    service,
};

/// The router. Each request needs a [`RequestInfo`] among its extensions.
pub(crate) fn router(api: &Arc<Api>) -> Router {
    // Group in the metrics, paths, and handlers. The first path is the name in metrics and logs.
    let mut routes = vec![
        (List, &["/"] as &[_], get(service::index)),
        (Operate, &["/favicon.ico"], get(service::favicon)),
        (Operate, &["/health"], get(service::health)),
        (List, &["/peers", "/peers/", "/peer", "/peer/"], get(peers::list)),
        (Operate, &["/ready"], get(service::ready)),
        (List, &["/semaphores", "/semaphores/"], get(semaphores::list)),
        (List, &["/semaphores/{name}"], get(semaphores::show)),
        (Operate, &["/version"], get(service::version)),
    ];
    if let Some(metrics) = &api.metrics {
        let handlers = get(service::metrics).layer(Extension(metrics.clone()));
        routes.push((Operate, &["/metrics"], handlers));
    }
    if let Some(reload) = &api.reload {
        let handlers = post(service::reload).layer(Extension(Arc::clone(reload)));
        routes.push((Operate, &["/admin/reload"], handlers));
    }
    if let Some(export) = &api.store_export {
        let handlers = get(service::store_export).layer(Extension(Arc::clone(export)));
        routes.push((Operate, &["/admin/store/export"], handlers));
    }

    let observe = |route: ObservedRoute, group, handlers: MethodRouter<Arc<Api>>| {
        let state = (Arc::clone(api), route, group);
        handlers.layer(middleware::from_fn_with_state(state, observe))
    };
    let mut router = Router::new();
    for (group, paths, handlers) in routes {
        let handlers = handlers.fallback(async || Refusal::method_not_allowed(None));
        let handlers = observe(ObservedRoute::new(api, paths[0]), group, handlers);
        for path in paths {
            router = router.route(path, handlers.clone());
        }
    }
    let unknown = any(async || Refusal::unknown_route());
    let unknown = observe(ObservedRoute::unknown(api), Operate, unknown);
    router
        .fallback_service(unknown.with_state(Arc::clone(api)))
        .layer(middleware::map_response(async |answer| listing::yield_between_pieces(answer)))
        .layer(compression::layer())
        .layer(middleware::map_response(compression::yield_between_pieces))
        .with_state(Arc::clone(api))
}

/// Counts and logs a request, and writes its refusal.
async fn observe(
    State((api, route, group)): State<(Arc<Api>, ObservedRoute, RequestGroup)>,
    Extension(info): Extension<RequestInfo>,
    request: Request,
    next: Next,
) -> Response {
    let fields = LogFields::if_logged(|| {
        let names_semaphore = route.name.ends_with("/{name}");
        let semaphore =
            names_semaphore.then(|| SemaphoreName::in_path(request.uri()).ok()).flatten();
        LogFields { semaphore: semaphore.unwrap_or_default(), ..LogFields::default() }
    });
    let handler = pin!(async {
        let mut response = next.run(request).await;
        response.extensions_mut().remove::<Refusal>().map_or(Ok(response), Err)
    });
    observed(&api, &info, Labels { route: &route, group, fields }, handler).await
}
