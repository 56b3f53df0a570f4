//! The registry's answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kernel::{Distribution, Duration, Stream, Streams, Time};
use crate::model::{Name, Text, image};
use crate::protocol::pull::{self, AuthConfig, Error, Fetch, FetchId, Fetched};
use crate::trace::Effects;

use super::flows::{Ended, Flows, Limits};
use super::images::{ImageRule, Images};
use super::{Fault, In, Out, RuntimeId, Timer};

/// What a scenario says of a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its name, as in image references. The cluster routes hosts that it does not know to a default registry.
    pub host: Name,
    /// Bandwidth limits in bytes per second.
    pub limits: Limits,
    /// Of each round trip. A manifest takes [`MANIFEST_ROUND_TRIPS`], a layer one.
    pub latency: Distribution,
    /// Who may pull; empty: everybody.
    pub users: Arc<[AuthConfig]>,
    /// The registries that it is a mirror of.
    pub mirrors: Arc<[Name]>,
    /// What it holds; the first rule that matches counts. Others: see [`super::images`].
    pub images: Arc<[ImageRule]>,
}

impl Default for Config {
    /// Docker Hub as most clusters see it: 50 MB/s a stream and 60 ms a round trip, both estimates.
    fn default() -> Config {
        Config {
            host: Name::new("docker.io"),
            limits: Limits { total: None, per_node: None, per_stream: Some(50_000_000) },
            latency: Distribution::LogNormal { p50: Duration::from_millis(60), p99: Duration::from_millis(400) },
            users: Arc::new([]),
            mirrors: Arc::new([]),
            images: Arc::new([]),
        }
    }
}

/// To resolve a reference: a token, the tag's digest, the manifest, the configuration.
pub const MANIFEST_ROUND_TRIPS: u64 = 4;

/// What Docker Hub says beyond its limit.
pub const DOCKER_HUB_LIMIT_TEXT: &str = "toomanyrequests: You have reached your pull rate limit. You may increase the \
    limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit";

/// A registry.
#[derive(Clone, Debug)]
pub struct Registry {
    config: Config,
    images: Images,
    flows: Flows,
    /// The earliest wake-up that is under way for a flow's end.
    armed: Option<Time>,
    ended: Vec<Ended>,
    down: bool,
    unauthorized: bool,
    /// Images whose layers come broken.
    corrupt: Vec<Name>,
    /// Downloads under way that will be found broken.
    broken: BTreeSet<(RuntimeId, FetchId)>,
    error_rate: f64,
    rate_limit: Option<RateLimit>,
    latency: Stream,
    errors: Stream,
}

#[derive(Clone, Debug)]
struct RateLimit {
    requests: u32,
    window: Duration,
    text: Text,
    since: Option<Time>,
    counted: u32,
}

impl Registry {
    /// A registry that works.
    pub fn new(config: Config, streams: &Streams) -> Registry {
        let owner = format!("registry/{}", config.host);
        Registry {
            images: Images::new(config.images.clone()),
            flows: Flows::new(config.limits),
            armed: None,
            ended: Vec::new(),
            down: false,
            unauthorized: false,
            corrupt: Vec::new(),
            broken: BTreeSet::new(),
            error_rate: 0.0,
            rate_limit: None,
            latency: streams.stream(&owner, "latency"),
            errors: streams.stream(&owner, "errors"),
            config,
        }
    }

    /// Handles one message.
    pub fn handle(&mut self, message: In, fx: &mut Effects<In, Out>) {
        match message {
            In::Request { from, request } => self.request(from, *request, fx),
            In::Disconnected(runtime) => {
                self.broken.retain(|(node, _)| *node != runtime);
                self.flows.cancel_node(fx.now(), runtime);
            }
            In::Fault(fault) => self.fault(*fault, fx),
            In::Timer(Timer::FlowEnds { at }) => {
                if self.armed == Some(at) {
                    self.armed = None;
                }
                self.finish(fx);
            }
        }
        self.arm(fx);
    }

    fn request(&mut self, from: RuntimeId, request: pull::Request, fx: &mut Effects<In, Out>) {
        if request.what == Fetch::Cancel {
            self.broken.remove(&(from, request.id));
            self.flows.cancel(fx.now(), from, request.id);
            return;
        }
        if let Err(error) = self.admit(&request.what, fx.now()) {
            return self.respond(from, request.id, Err(error), 1, fx);
        }
        match request.what {
            Fetch::Manifest { image, .. } => {
                let result = self.images.manifest(image).map(Fetched::Manifest).ok_or(Error::NotFound);
                let round_trips = if result.is_ok() { MANIFEST_ROUND_TRIPS } else { 1 };
                self.respond(from, request.id, result, round_trips, fx);
            }
            // Blobs stay where they are when a tag goes, so a fault `missing` in the middle of a pull does not stop it.
            Fetch::Layer { image, layer } => {
                if self.corrupt.iter().any(|pattern| image::matches(pattern, &image)) {
                    self.broken.insert((from, request.id));
                }
                self.flows.begin(fx.now(), from, request.id, layer.bytes, fx.cause());
            }
            Fetch::Cancel => {}
        }
    }

    fn admit(&mut self, what: &Fetch, now: Time) -> Result<(), Error> {
        if self.down {
            return Err(Error::ConnectionRefused);
        }
        if self.error_rate > 0.0 && self.errors.chance(self.error_rate) {
            return Err(Error::ServerError(500));
        }
        if let Fetch::Manifest { auth, .. } = what
            && (self.unauthorized || !self.config.users.is_empty())
        {
            match auth {
                None => return Err(Error::NoCredentials),
                Some(auth) if self.unauthorized || !self.config.users.contains(auth) => {
                    return Err(Error::Unauthorized);
                }
                Some(_) => {}
            }
        }
        if let (Some(limit), Fetch::Manifest { .. }) = (&mut self.rate_limit, what) {
            if limit.since.is_none_or(|since| now.since(since) >= limit.window) {
                limit.since = Some(now);
                limit.counted = 0;
            }
            limit.counted = limit.counted.saturating_add(1);
            if limit.counted > limit.requests {
                return Err(Error::TooManyRequests(limit.text.clone()));
            }
        }
        Ok(())
    }

    fn fault(&mut self, fault: Fault, fx: &mut Effects<In, Out>) {
        match fault {
            Fault::Down(down) => {
                self.down = down;
                if down {
                    self.broken.clear();
                    for end in self.flows.cancel_all(fx.now()) {
                        self.respond(end.to, end.id, Err(Error::ConnectionReset), 1, fx);
                    }
                }
            }
            Fault::Bandwidth(total) => {
                let limits = Limits { total: total.or(self.config.limits.total), ..self.config.limits };
                // What is through by now is through.
                self.finish(fx);
                self.flows.limit(fx.now(), limits);
            }
            Fault::ErrorRate(rate) => self.error_rate = rate,
            Fault::RateLimit(limit) => {
                self.rate_limit = limit.map(|(requests, window, text)| {
                    let text = if text.is_empty() { Text::new(DOCKER_HUB_LIMIT_TEXT) } else { text };
                    RateLimit { requests, window, text, since: None, counted: 0 }
                });
            }
            Fault::Unauthorized(unauthorized) => self.unauthorized = unauthorized,
            Fault::Corrupt { pattern, corrupt } => {
                self.corrupt.retain(|existing| *existing != pattern);
                if corrupt {
                    self.corrupt.push(pattern);
                }
            }
            Fault::Missing { pattern, missing } => self.images.set_missing(pattern, missing),
        }
    }

    fn finish(&mut self, fx: &mut Effects<In, Out>) {
        let mut ended = std::mem::take(&mut self.ended);
        self.flows.finish(fx.now(), &mut ended);
        let cause = fx.cause();
        for end in ended.drain(..) {
            fx.because(end.cause);
            let is_broken = !self.broken.is_empty() && self.broken.remove(&(end.to, end.id));
            let result = if is_broken { Err(Error::Corrupt) } else { Ok(Fetched::Layer) };
            self.respond(end.to, end.id, result, 1, fx);
        }
        fx.because(cause);
        self.ended = ended;
    }

    /// The latency of a layer's request is put behind its last byte instead of before its first: one event less.
    fn respond(
        &mut self,
        to: RuntimeId,
        id: FetchId,
        result: Result<Fetched, Error>,
        round_trips: u64,
        fx: &mut Effects<In, Out>,
    ) {
        let latency = self.latency.draw(&self.config.latency) * round_trips;
        fx.send_after(latency, Out::Respond { to, response: Box::new(pull::Response { id, result }) });
    }

    /// Wakes up for the next flow's end, unless an earlier wake-up is under way: that one looks again.
    fn arm(&mut self, fx: &mut Effects<In, Out>) {
        if let Some(at) = self.flows.next_end()
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.armed = Some(at);
            fx.wake_at(at, In::Timer(Timer::FlowEnds { at }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kernel::{Cause, Effect};
    use crate::protocol::pull::Layer;

    /// Plays messages (second, message) to a registry, fires its timers in between, and prints what it says.
    fn play(config: Config, script: Vec<(u64, In)>) -> Vec<String> {
        let mut registry = Registry::new(config, &Streams::new(1));
        let mut fx = Effects::default();
        let mut queue: BTreeMap<(Time, usize), In> = BTreeMap::new();
        let mut sequence = 0;
        for (second, message) in script {
            queue.insert((Time::from_secs(second), sequence), message);
            sequence += 1;
        }
        let mut said = Vec::new();
        while let Some(((now, _), message)) = queue.pop_first() {
            fx.begin(now, Cause::NONE, 1);
            registry.handle(message, &mut fx);
            for (_, effect) in fx.drain_effects() {
                match effect {
                    Effect::Wake { at, message } => {
                        queue.insert((at, sequence), message);
                        sequence += 1;
                    }
                    Effect::Send { delay, message: Out::Respond { to, response } } => {
                        let result = match response.result {
                            Ok(Fetched::Layer) => "layer".to_owned(),
                            Ok(Fetched::Manifest(manifest)) => format!("{} layers", manifest.layers.len()),
                            Err(error) => error.to_string(),
                        };
                        said.push(format!(
                            "{} node {} #{}: {result}",
                            (now + delay).since(Time::ZERO),
                            to.0,
                            response.id.0
                        ));
                    }
                }
            }
        }
        said
    }

    fn plain(total: u64) -> Config {
        Config {
            limits: Limits { total: Some(total), ..Limits::default() },
            latency: Distribution::Constant(Duration::ZERO),
            ..Config::default()
        }
    }

    fn ask(node: u32, id: u64, what: Fetch) -> In {
        In::Request { from: RuntimeId(node), request: Box::new(pull::Request { id: FetchId(id), what }) }
    }

    fn layer(node: u32, id: u64, bytes: u64) -> In {
        ask(node, id, Fetch::Layer { image: "app".into(), layer: Layer { digest: id, bytes } })
    }

    fn manifest(node: u32, id: u64, image: &str) -> In {
        ask(node, id, Fetch::Manifest { image: image.into(), auth: None })
    }

    fn fault(fault: Fault) -> In {
        In::Fault(Box::new(fault))
    }

    #[test]
    fn downloads_share_the_bandwidth_and_speed_up_when_one_leaves() {
        let script = vec![(0, layer(1, 1, 1000)), (0, layer(2, 2, 1000)), (4, ask(2, 2, Fetch::Cancel))];
        assert_eq!(play(plain(100), script), ["12s node 1 #1: layer"]);
        let script = vec![(0, layer(1, 1, 1000)), (0, layer(2, 2, 1000)), (4, In::Disconnected(RuntimeId(1)))];
        assert_eq!(play(plain(100), script), ["12s node 2 #2: layer"]);
    }

    #[test]
    fn a_bandwidth_fault_slows_what_is_under_way_until_it_ends() {
        let script =
            vec![(0, layer(1, 1, 1000)), (5, fault(Fault::Bandwidth(Some(10)))), (15, fault(Fault::Bandwidth(None)))];
        assert_eq!(play(plain(100), script), ["19s node 1 #1: layer"]);
    }

    #[test]
    fn a_registry_that_is_down_breaks_downloads_and_refuses_connections() {
        let script = vec![
            (0, layer(1, 1, 1000)),
            (5, fault(Fault::Down(true))),
            (6, manifest(1, 2, "nginx")),
            (7, fault(Fault::Down(false))),
            (8, layer(1, 3, 100)),
        ];
        assert_eq!(
            play(plain(100), script),
            [
                "5s node 1 #1: read tcp: read: connection reset by peer",
                "6s node 1 #2: dial tcp: connect: connection refused",
                "9s node 1 #3: layer",
            ]
        );
    }

    #[test]
    fn manifests_beyond_the_rate_limit_are_refused_until_the_window_ends() {
        let minute = Duration::from_secs(60);
        let mut script = vec![(0, fault(Fault::RateLimit(Some((2, minute, Text::default())))))];
        script.extend((1..=3).map(|id| (id, manifest(1, id, "nginx:1"))));
        script.push((4, layer(1, 4, 100)));
        script.push((61, manifest(1, 5, "nginx:1")));
        let said = play(plain(100), script);
        assert!(said[2].contains("toomanyrequests: You have reached your pull rate limit."), "{said:?}");
        assert!(said[3].ends_with("layer") && said[4].ends_with("layers"), "{said:?}");
    }

    #[test]
    fn missing_images_and_failing_requests_are_told_apart() {
        let script = vec![
            (0, fault(Fault::Missing { pattern: "shop/*".into(), missing: true })),
            (1, manifest(1, 1, "shop/web:1")),
            (2, fault(Fault::Missing { pattern: "shop/*".into(), missing: false })),
            (3, fault(Fault::ErrorRate(1.0))),
            (4, manifest(1, 2, "shop/web:1")),
        ];
        assert_eq!(play(plain(100), script), ["1s node 1 #1: not found", "4s node 1 #2: unexpected status code 500"]);
    }
}
