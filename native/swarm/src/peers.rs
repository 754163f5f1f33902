//! Admitted peers and their protocol streams: announces a peer before its first stream, opens streams to it and hands
//! inbound ones to the owner, bounded per peer.

use crate::Events;
use crate::admission::Admission;
use crate::host::{Failure, Kind, Reply};
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Inbound streams that one peer may hold open: a busy node has tens; each costs up to 256 KiB of buffer and a task.
const INBOUND_PER_PEER_MAX: usize = 768;
/// Streams that wait to be negotiated on one connection.
const OPENING_MAX: usize = 1024;
const NEGOTIATION_LIMIT: Duration = Duration::from_secs(10);

/// One stream; counts against its peer's bound while it lives.
pub struct PeerStream {
    stream: Stream,
    _held: Option<Held>,
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl futures::AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl futures::AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

struct Open {
    protocol: StreamProtocol,
    reply: Reply<PeerStream>,
}

struct Line {
    relayed: bool,
    opens: mpsc::Sender<Open>,
}

#[derive(Default)]
struct Peer {
    lines: BTreeMap<ConnectionId, Line>,
    inbound: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Table {
    accepted: Arc<Vec<StreamProtocol>>,
    peers: HashMap<PeerId, Peer>,
}

/// Opens streams and says which protocols are served; from any thread.
#[derive(Clone, Default)]
pub struct Control(Arc<Mutex<Table>>);

impl Control {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn accept(&self, protocol: StreamProtocol, accepted: bool) {
        let mut table = self.table();
        let mut list: Vec<_> = table.accepted.iter().filter(|p| **p != protocol).cloned().collect();
        if accepted {
            list.push(protocol);
        }
        table.accepted = Arc::new(list);
    }

    /// Answers from the connection's task. A direct connection is preferred to a relayed one.
    pub fn open(&self, peer: &PeerId, protocol: StreamProtocol, reply: Reply<PeerStream>) {
        let refused = {
            let table = self.table();
            let lines = table.peers.get(peer).map(|p| &p.lines);
            match lines.and_then(|lines| lines.values().min_by_key(|line| line.relayed)) {
                None => (reply, Failure::new(Kind::Unavailable, format!("not connected to {peer}"))),
                Some(line) => match line.opens.try_send(Open { protocol, reply }) {
                    Ok(()) => return,
                    Err(mpsc::error::TrySendError::Full(open)) => {
                        (open.reply, Failure::new(Kind::Exhausted, format!("{OPENING_MAX} streams to {peer} wait already")))
                    }
                    Err(mpsc::error::TrySendError::Closed(open)) => {
                        (open.reply, Failure::new(Kind::Unavailable, format!("connection to {peer} has closed")))
                    }
                },
            }
        };
        (refused.0)(Err(refused.1));
    }
}

pub struct Behaviour {
    events: Arc<dyn Events>,
    admission: Arc<Admission>,
    control: Control,
}

impl Behaviour {
    pub fn new(events: Arc<dyn Events>, admission: Arc<Admission>, control: Control) -> Self {
        Self { events, admission, control }
    }

    // Runs before the connection's task starts, so the owner hears of the peer before its first stream.
    fn established(&mut self, connection: ConnectionId, peer: PeerId, address: &Multiaddr) -> Handler {
        let (opens, receiver) = mpsc::channel(OPENING_MAX);
        let relayed = address.iter().any(|p| p == Protocol::P2pCircuit);
        let mut table = self.control.table();
        let entry = table.peers.entry(peer).or_default();
        let first = entry.lines.is_empty();
        entry.lines.insert(connection, Line { relayed, opens });
        let inbound = entry.inbound.clone();
        drop(table);
        if first {
            self.events.peer_up(&peer, &self.admission.certificate_of(&peer));
        }
        Handler { peer, events: self.events.clone(), control: self.control.clone(), inbound, opens: receiver }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.established(connection, peer, local))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.established(connection, peer, address))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = event {
            let mut table = self.control.table();
            let Some(entry) = table.peers.get_mut(&peer_id) else { return };
            entry.lines.remove(&connection_id);
            if entry.lines.is_empty() {
                table.peers.remove(&peer_id);
                drop(table);
                self.events.peer_down(&peer_id);
            }
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

pub struct Handler {
    peer: PeerId,
    events: Arc<dyn Events>,
    control: Control,
    inbound: Arc<AtomicUsize>,
    opens: mpsc::Receiver<Open>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply<PeerStream>;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocols> {
        let accepted = self.control.table().accepted.clone();
        SubstreamProtocol::new(Protocols(accepted), ()).with_timeout(NEGOTIATION_LIMIT)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Protocols, Reply<PeerStream>, Infallible>> {
        match self.opens.poll_recv(cx) {
            Poll::Ready(Some(Open { protocol, reply })) => {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(Protocols(Arc::new(vec![protocol])), reply)
                        .with_timeout(NEGOTIATION_LIMIT),
                })
            }
            _ => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Protocols, Protocols, (), Reply<PeerStream>>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, protocol), .. }) => {
                let held = Held(self.inbound.clone());
                if self.inbound.fetch_add(1, Ordering::Relaxed) >= INBOUND_PER_PEER_MAX {
                    return; // dropped: the peer sees a reset
                }
                let stream = PeerStream { stream, _held: Some(held) };
                self.events.inbound_stream(&self.peer, protocol.as_ref(), stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (stream, _), info }) => {
                info(Ok(PeerStream { stream, _held: None }));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let peer = self.peer;
                info(Err(match error {
                    StreamUpgradeError::NegotiationFailed => {
                        Failure::new(Kind::Unimplemented, format!("{peer} does not speak this protocol"))
                    }
                    StreamUpgradeError::Timeout => {
                        Failure::new(Kind::Unavailable, format!("{peer} did not answer within {NEGOTIATION_LIMIT:?}"))
                    }
                    StreamUpgradeError::Io(e) => Failure::new(Kind::Unavailable, format!("stream to {peer}: {e}")),
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// The protocols of one negotiation; the stream itself is the result.
#[derive(Clone)]
pub struct Protocols(Arc<Vec<StreamProtocol>>);

pub struct ProtocolsIter(Arc<Vec<StreamProtocol>>, usize);

impl Iterator for ProtocolsIter {
    type Item = StreamProtocol;
    fn next(&mut self) -> Option<StreamProtocol> {
        let protocol = self.0.get(self.1).cloned();
        self.1 += 1;
        protocol
    }
}

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = ProtocolsIter;
    fn protocol_info(&self) -> ProtocolsIter {
        ProtocolsIter(self.0.clone(), 0)
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;
    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;
    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
