//! The bridge between `swarm` and C++ (src/p2p/libp2p). No logic: conversions, and the promise that every completion is
//! called exactly once.
//!
//! Streams are polled from C++: an operation moves what can be moved at once, and if nothing can, the waker that was given
//! with the stream is called when it is worth another try. No task is spawned and nothing is copied for a read or a write.

use futures::task::{ArcWake, waker};
use futures::{AsyncRead, AsyncWrite};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use swarm::libp2p::{Multiaddr, PeerId};
use swarm::{Events, Failure, Kind, PeerStream, Refusal};

#[cxx::bridge(namespace = "tau::native")]
mod ffi {
    struct HostOptions {
        seed: Vec<u8>,
        certificate: Vec<u8>,
        listen: Vec<String>,
        external: Vec<String>,
        mdns: bool,
        relay_server: bool,
    }

    /// `code` is 0 or the number of a tau::ErrorCode, `text` the error's message or the peer that was dialed.
    struct Outcome {
        code: u8,
        text: String,
        peers: Vec<String>,
    }

    /// `why` is empty for who is admitted. `tell`: a member once, who may hear the reason.
    struct Admitted {
        why: String,
        tell: bool,
    }

    unsafe extern "C++" {
        include!("tau_p2p_callbacks.h");

        type Completion;
        fn done(self: &Completion, outcome: Outcome);
        fn opened(self: &Completion, stream: Box<NativeStream>);

        type HostEvents;
        fn admit(self: &HostEvents, peer: &str, certificate: &[u8]) -> Admitted;
        fn peer_up(self: &HostEvents, peer: &str, certificate: &[u8]);
        fn peer_down(self: &HostEvents, peer: &str);
        fn message(self: &HostEvents, topic: &str, from: &str, data: &[u8]);
        fn inbound_stream(self: &HostEvents, peer: &str, protocol: &str, stream: Box<NativeStream>);
        fn address(self: &HostEvents, address: &str, listening: bool);
        fn failed(self: &HostEvents, why: &str);

        type StreamWaker;
        fn wake(self: &StreamWaker);
    }

    extern "Rust" {
        type NativeRuntime;
        fn new_runtime(threads: usize) -> Result<Box<NativeRuntime>>;

        type NativeHost;
        fn start_host(
            runtime: &NativeRuntime,
            options: HostOptions,
            events: UniquePtr<HostEvents>,
            started: UniquePtr<Completion>,
        ) -> Box<NativeHost>;
        fn stop(self: &NativeHost, done: UniquePtr<Completion>);
        fn dial(self: &NativeHost, address: &str, done: UniquePtr<Completion>);
        fn listen(self: &NativeHost, address: &str, done: UniquePtr<Completion>);
        fn disconnect(self: &NativeHost, peer: &str);
        fn set_certificate(self: &NativeHost, certificate: &[u8]) -> bool;
        fn add_address(self: &NativeHost, peer: &str, address: &str);
        fn accept(self: &NativeHost, protocol: &str, accepted: bool);
        fn open(self: &NativeHost, peer: &str, protocol: &str, done: UniquePtr<Completion>);
        fn subscribe(self: &NativeHost, topic: &str);
        fn publish(self: &NativeHost, topic: &str, data: &[u8]) -> bool;
        fn provide(self: &NativeHost, key: &[u8], done: UniquePtr<Completion>);
        fn find(self: &NativeHost, key: &[u8], at_most: usize, done: UniquePtr<Completion>);
        /// The outcome's `peers` are multiaddrs.
        fn find_peer(self: &NativeHost, peer: &str, done: UniquePtr<Completion>);

        type NativeStream;
        fn set_wakers(self: &mut NativeStream, reader: UniquePtr<StreamWaker>, writer: UniquePtr<StreamWaker>);
        /// Bytes moved, or kNotReady (-1) with the waker armed, or kLost (-2).
        fn read(self: &mut NativeStream, out: &mut [u8]) -> i64;
        fn write(self: &mut NativeStream, data: &[u8]) -> i64;
        /// 0, or kNotReady, or kLost.
        fn flush(self: &mut NativeStream) -> i64;
        fn close(self: &mut NativeStream) -> i64;
    }
}

// The C++ classes promise to be callable from any thread.
unsafe impl Send for ffi::Completion {}
unsafe impl Sync for ffi::Completion {}
unsafe impl Send for ffi::HostEvents {}
unsafe impl Sync for ffi::HostEvents {}
unsafe impl Send for ffi::StreamWaker {}
unsafe impl Sync for ffi::StreamWaker {}

const NOT_READY: i64 = -1;
const LOST: i64 = -2;

fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid => 3,
        Kind::NotAdmitted => 7,
        Kind::Exhausted => 8,
        Kind::Unimplemented => 12,
        Kind::Unavailable => 14,
    }
}

/// Answers when dropped, if nobody has before: an operation that was under way when its host ended.
struct Done(Option<cxx::UniquePtr<ffi::Completion>>);

impl Done {
    fn new(completion: cxx::UniquePtr<ffi::Completion>) -> Self {
        Self(Some(completion))
    }
    fn give(mut self, code: u8, text: String, peers: Vec<String>) {
        if let Some(completion) = self.0.take() {
            completion.done(ffi::Outcome { code, text, peers });
        }
    }
    fn fail(self, failure: Failure) {
        self.give(code_of(failure.kind), failure.message, Vec::new());
    }
    fn finish(self, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.give(0, String::new(), Vec::new()),
            Err(failure) => self.fail(failure),
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(completion) = self.0.take() {
            completion.done(ffi::Outcome {
                code: code_of(Kind::Unavailable),
                text: "the host or the connection has ended".into(),
                peers: Vec::new(),
            });
        }
    }
}

struct Bridge(cxx::UniquePtr<ffi::HostEvents>);

impl Events for Bridge {
    fn admit(&self, peer: &PeerId, certificate: &[u8]) -> Result<(), Refusal> {
        let said = self.0.admit(&peer.to_string(), certificate);
        if said.why.is_empty() { Ok(()) } else { Err(Refusal { why: said.why, tell: said.tell }) }
    }
    fn peer_up(&self, peer: &PeerId, certificate: &[u8]) {
        self.0.peer_up(&peer.to_string(), certificate);
    }
    fn peer_down(&self, peer: &PeerId) {
        self.0.peer_down(&peer.to_string());
    }
    fn message(&self, topic: &str, from: &PeerId, data: &[u8]) {
        self.0.message(topic, &from.to_string(), data);
    }
    fn inbound_stream(&self, peer: &PeerId, protocol: &str, stream: PeerStream) {
        self.0.inbound_stream(&peer.to_string(), protocol, NativeStream::new(stream));
    }
    fn address(&self, address: &str, listening: bool) {
        self.0.address(address, listening);
    }
    fn failed(&self, why: &str) {
        self.0.failed(why);
    }
}

pub struct NativeRuntime(Option<tokio::runtime::Runtime>);

fn new_runtime(threads: usize) -> std::io::Result<Box<NativeRuntime>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name("tau-p2p")
        .enable_all()
        .build()?;
    Ok(Box::new(NativeRuntime(Some(runtime))))
}

impl Drop for NativeRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Hosts have stopped; what is left are sockets that say their last words, and name lookups.
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

pub struct NativeHost(swarm::Host);

fn start_host(
    runtime: &NativeRuntime,
    options: ffi::HostOptions,
    events: cxx::UniquePtr<ffi::HostEvents>,
    started: cxx::UniquePtr<ffi::Completion>,
) -> Box<NativeHost> {
    let started = Done::new(started);
    let options = swarm::Options {
        seed: options.seed,
        certificate: options.certificate,
        listen: options.listen,
        external: options.external,
        mdns: options.mdns,
        relay_server: options.relay_server,
    };
    // Only the destructor takes the runtime out.
    let handle = runtime.0.as_ref().expect("a live runtime").handle().clone();
    let reply = Box::new(move |result| started.finish(result));
    Box::new(NativeHost(swarm::Host::start(handle, options, Arc::new(Bridge(events)), reply)))
}

impl NativeHost {
    fn stop(&self, done: cxx::UniquePtr<ffi::Completion>) {
        let done = Done::new(done);
        self.0.stop(Box::new(move |result| done.finish(result)));
    }
    fn dial(&self, address: &str, done: cxx::UniquePtr<ffi::Completion>) {
        let done = Done::new(done);
        self.0.dial(
            address,
            Box::new(move |result| match result {
                Ok(peer) => done.give(0, peer.to_string(), Vec::new()),
                Err(failure) => done.fail(failure),
            }),
        );
    }
    fn listen(&self, address: &str, done: cxx::UniquePtr<ffi::Completion>) {
        let done = Done::new(done);
        self.0.listen(address, Box::new(move |result| done.finish(result)));
    }
    fn disconnect(&self, peer: &str) {
        if let Ok(peer) = peer.parse() {
            self.0.disconnect(peer);
        }
    }
    fn add_address(&self, peer: &str, address: &str) {
        if let (Ok(peer), Ok(address)) = (peer.parse::<PeerId>(), address.parse::<Multiaddr>()) {
            self.0.add_address(peer, address);
        }
    }
    fn set_certificate(&self, certificate: &[u8]) -> bool {
        self.0.set_certificate(certificate)
    }
    fn accept(&self, protocol: &str, accepted: bool) {
        self.0.accept(protocol, accepted);
    }
    fn open(&self, peer: &str, protocol: &str, done: cxx::UniquePtr<ffi::Completion>) {
        let mut done = Done::new(done);
        match peer.parse::<PeerId>() {
            Ok(peer) => self.0.open(
                &peer,
                protocol,
                Box::new(move |result| match result {
                    Ok(stream) => {
                        if let Some(completion) = done.0.take() {
                            completion.opened(NativeStream::new(stream));
                        }
                    }
                    Err(failure) => done.fail(failure),
                }),
            ),
            Err(error) => done.fail(Failure::new(Kind::Invalid, format!("{peer} is no peer id: {error}"))),
        }
    }
    fn subscribe(&self, topic: &str) {
        self.0.subscribe(topic);
    }
    fn publish(&self, topic: &str, data: &[u8]) -> bool {
        self.0.publish(topic, data)
    }
    fn provide(&self, key: &[u8], done: cxx::UniquePtr<ffi::Completion>) {
        let done = Done::new(done);
        self.0.provide(key, Box::new(move |result| done.finish(result)));
    }
    fn find(&self, key: &[u8], at_most: usize, done: cxx::UniquePtr<ffi::Completion>) {
        let done = Done::new(done);
        self.0.find(
            key,
            at_most,
            Box::new(move |result| match result {
                Ok(peers) => done.give(0, String::new(), peers.iter().map(PeerId::to_string).collect()),
                Err(failure) => done.fail(failure),
            }),
        );
    }
}

impl NativeHost {
    fn find_peer(&self, peer: &str, done: cxx::UniquePtr<ffi::Completion>) {
        let done = Done::new(done);
        match peer.parse::<PeerId>() {
            Ok(peer) => self.0.find_peer(
                peer,
                Box::new(move |result| match result {
                    Ok(found) => done.give(0, String::new(), found.iter().map(Multiaddr::to_string).collect()),
                    Err(failure) => done.fail(failure),
                }),
            ),
            Err(error) => done.fail(Failure::new(Kind::Invalid, format!("{peer} is no peer id: {error}"))),
        }
    }
}

struct Wake(cxx::UniquePtr<ffi::StreamWaker>);

impl ArcWake for Wake {
    fn wake_by_ref(me: &Arc<Self>) {
        me.0.wake();
    }
}

pub struct NativeStream {
    stream: PeerStream,
    reader: Waker,
    writer: Waker,
}

impl NativeStream {
    fn new(stream: PeerStream) -> Box<Self> {
        Box::new(Self { stream, reader: Waker::noop().clone(), writer: Waker::noop().clone() })
    }
    fn set_wakers(&mut self, reader: cxx::UniquePtr<ffi::StreamWaker>, writer: cxx::UniquePtr<ffi::StreamWaker>) {
        self.reader = waker(Arc::new(Wake(reader)));
        self.writer = waker(Arc::new(Wake(writer)));
    }
    fn read(&mut self, out: &mut [u8]) -> i64 {
        let stream = &mut self.stream;
        let mut cx = Context::from_waker(&self.reader);
        moved(|| Pin::new(stream).poll_read(&mut cx, out))
    }
    fn write(&mut self, data: &[u8]) -> i64 {
        let stream = &mut self.stream;
        let mut cx = Context::from_waker(&self.writer);
        moved(|| Pin::new(stream).poll_write(&mut cx, data))
    }
    fn flush(&mut self) -> i64 {
        let stream = &mut self.stream;
        let mut cx = Context::from_waker(&self.writer);
        moved(|| Pin::new(stream).poll_flush(&mut cx).map_ok(|()| 0))
    }
    fn close(&mut self) -> i64 {
        let stream = &mut self.stream;
        let mut cx = Context::from_waker(&self.writer);
        moved(|| Pin::new(stream).poll_close(&mut cx).map_ok(|()| 0))
    }
}

/// A panic of a library counts as a lost stream: one of thousands, not the process.
fn moved(poll: impl FnOnce() -> Poll<std::io::Result<usize>>) -> i64 {
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(Poll::Ready(Ok(n))) => n as i64,
        Ok(Poll::Pending) => NOT_READY,
        Ok(Poll::Ready(Err(_))) | Err(_) => LOST,
    }
}
