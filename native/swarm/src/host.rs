//! The loop of one host: owns the swarm, takes commands, answers each exactly once.

use crate::Events;
use crate::admission::{Admission, NOT_ADMITTED};
use crate::behaviour::{Behaviour, BehaviourEvent, KAD_PROTOCOL};
use crate::peers::{self, PeerStream};
use crate::transport;
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::kad::store::RecordStore;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, StreamProtocol, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, kad, mdns, ping};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Commands that wait for the loop. It takes them in microseconds; a full queue means that it is overwhelmed.
const COMMANDS_MAX: usize = 8192;
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
/// For peers to hear that we leave; a peer that takes longer will find out by itself.
const GOODBYE_LIMIT: Duration = Duration::from_millis(300);
/// Addresses of one peer that enter the routing table; an honest one has a few per network interface.
const ADDRESSES_PER_PEER_MAX: usize = 16;
/// A provider's key is a multihash: 34 bytes for SHA-256, 66 for SHA-512.
pub const KEY_SIZE_MAX: usize = 128;
/// Connections stay until a side ends them: nodes talk all day, and a handshake costs more than an idle connection.
const IDLE_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unavailable,
    NotAdmitted,
    Invalid,
    Unimplemented,
    Exhausted,
}

#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
    fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }
}

/// Called once, from a tokio thread or the caller's. Dropped without a call when the host ends first.
pub type Reply<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;

pub struct Options {
    /// The 32 secret bytes of the host's Ed25519 key.
    pub seed: Vec<u8>,
    pub certificate: Vec<u8>,
    pub listen: Vec<String>,
    /// Addresses under which others reach this host, where they are not the ones that it listens on.
    pub external: Vec<String>,
    pub mdns: bool,
    pub relay_server: bool,
}

enum Command {
    Dial(Multiaddr, Reply<PeerId>),
    Listen(Multiaddr, Reply<()>),
    Disconnect(PeerId),
    SetCertificate(Vec<u8>),
    AddAddress(PeerId, Multiaddr),
    Subscribe(String),
    Publish(String, Vec<u8>),
    Provide(Vec<u8>, Reply<()>),
    Find(Vec<u8>, usize, Reply<Vec<PeerId>>),
    FindPeer(PeerId, Reply<Vec<Multiaddr>>),
}

/// A handle: cheap, for any thread. The host ends when it is stopped or dropped.
pub struct Host {
    commands: mpsc::Sender<Command>,
    control: peers::Control,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    runtime: Handle,
}

impl Host {
    /// Answers when every listener has an address, or one cannot have any.
    pub fn start(runtime: Handle, options: Options, events: Arc<dyn Events>, reply: Reply<()>) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (stop, stopping) = watch::channel(false);
        let (done, ended) = watch::channel(false);
        let control = peers::Control::default();
        let host = Self { commands, control: control.clone(), stop, ended, runtime: runtime.clone() };
        runtime.spawn(async move {
            let work = tokio::spawn(run(options, events.clone(), control, receiver, stopping, reply));
            if let Err(error) = work.await {
                events.failed(&format!("the host's loop ended: {error}"));
            }
            let _ = done.send(true);
        });
        host
    }

    /// Answers when connections and sockets are closed. Idempotent.
    pub fn stop(&self, reply: Reply<()>) {
        let _ = self.stop.send(true);
        let mut ended = self.ended.clone();
        self.runtime.spawn(async move {
            let _ = ended.wait_for(|ended| *ended).await;
            reply(Ok(()));
        });
    }

    pub fn dial(&self, address: &str, reply: Reply<PeerId>) {
        match address.parse() {
            Ok(address) => self.send(Command::Dial(address, reply)),
            Err(error) => reply(Err(Failure::invalid(format!("{address} is no multiaddr: {error}")))),
        }
    }
    pub fn listen(&self, address: &str, reply: Reply<()>) {
        match address.parse() {
            Ok(address) => self.send(Command::Listen(address, reply)),
            Err(error) => reply(Err(Failure::invalid(format!("{address} is no multiaddr: {error}")))),
        }
    }
    pub fn disconnect(&self, peer: PeerId) {
        self.send(Command::Disconnect(peer));
    }
    /// Shown at every connection from now on; those that stand stay. False when too much waits already.
    pub fn set_certificate(&self, certificate: &[u8]) -> bool {
        self.commands.try_send(Command::SetCertificate(certificate.to_vec())).is_ok()
    }
    pub fn add_address(&self, peer: PeerId, address: Multiaddr) {
        self.send(Command::AddAddress(peer, address));
    }
    pub fn accept(&self, protocol: &str, accepted: bool) {
        if let Ok(protocol) = StreamProtocol::try_from_owned(protocol.to_owned()) {
            self.control.accept(protocol, accepted);
        }
    }
    pub fn open(&self, peer: &PeerId, protocol: &str, reply: Reply<PeerStream>) {
        match StreamProtocol::try_from_owned(protocol.to_owned()) {
            Ok(protocol) => self.control.open(peer, protocol, reply),
            Err(error) => reply(Err(Failure::invalid(format!("protocol {protocol}: {error}")))),
        }
    }
    pub fn subscribe(&self, topic: &str) {
        self.send(Command::Subscribe(topic.to_owned()));
    }
    /// False when too much waits already.
    pub fn publish(&self, topic: &str, data: &[u8]) -> bool {
        self.commands.try_send(Command::Publish(topic.to_owned(), data.to_vec())).is_ok()
    }
    pub fn provide(&self, key: &[u8], reply: Reply<()>) {
        self.send(Command::Provide(key.to_vec(), reply));
    }
    pub fn find(&self, key: &[u8], at_most: usize, reply: Reply<Vec<PeerId>>) {
        self.send(Command::Find(key.to_vec(), at_most, reply));
    }
    /// Where the peer listens, each address ending in its id; nothing when it does not answer.
    pub fn find_peer(&self, peer: PeerId, reply: Reply<Vec<Multiaddr>>) {
        self.send(Command::FindPeer(peer, reply));
    }

    fn send(&self, command: Command) {
        let (command, failure) = match self.commands.try_send(command) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(c)) => (c, Failure::new(Kind::Exhausted, "the host is overwhelmed")),
            Err(mpsc::error::TrySendError::Closed(c)) => (c, Failure::new(Kind::Unavailable, "the host has stopped")),
        };
        match command {
            Command::Dial(_, reply) => reply(Err(failure)),
            Command::Listen(_, reply) | Command::Provide(_, reply) => reply(Err(failure)),
            Command::Find(_, _, reply) => reply(Err(failure)),
            Command::FindPeer(_, reply) => reply(Err(failure)),
            _ => {}
        }
    }
}

struct Dial {
    peer: Option<PeerId>,
    address: Multiaddr,
    reply: Reply<PeerId>,
    /// Others who asked for the same peer meanwhile.
    waiting: Vec<(Multiaddr, Reply<PeerId>)>,
}

struct Search {
    found: HashSet<PeerId>,
    at_most: usize,
    reply: Reply<Vec<PeerId>>,
}

struct Running {
    swarm: Swarm<Behaviour>,
    events: Arc<dyn Events>,
    admission: Arc<Admission>,
    relay_server: bool,
    has_external: bool,
    dials: HashMap<ConnectionId, Dial>,
    /// Peers whose connections are being closed at our wish; who wants them again waits for the end of that.
    leaving: HashMap<PeerId, Vec<(Multiaddr, Reply<PeerId>)>>,
    listens: HashMap<ListenerId, Reply<()>>,
    provides: HashMap<kad::QueryId, Reply<()>>,
    searches: HashMap<kad::QueryId, Search>,
    lookups: HashMap<kad::QueryId, (PeerId, Reply<Vec<Multiaddr>>)>,
}

async fn run(
    options: Options,
    events: Arc<dyn Events>,
    control: peers::Control,
    mut commands: mpsc::Receiver<Command>,
    mut stopping: watch::Receiver<bool>,
    reply: Reply<()>,
) {
    // The swarm's own tasks hold a clone each; when the last one has gone, so has the last connection.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let (kill, killed) = watch::channel(false);
    let mut running = match Running::new(&options, events, control, alive, killed) {
        Ok(running) => running,
        Err(failure) => return reply(Err(failure)),
    };
    match running.listen_on_all(&options.listen).await {
        Ok(()) => {
            reply(Ok(()));
            running.serve(&mut commands, &mut stopping).await;
            running.say_goodbye().await;
        }
        Err(failure) => reply(Err(failure)),
    }
    drop(commands);
    drop(running);
    let _ = kill.send(true);
    let _ = all_gone.recv().await;
}

impl Running {
    fn new(
        options: &Options,
        events: Arc<dyn Events>,
        control: peers::Control,
        alive: mpsc::Sender<()>,
        killed: watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let key = Keypair::ed25519_from_bytes(options.seed.clone())
            .map_err(|e| Failure::invalid(format!("key seed: {e}")))?;
        let id = key.public().to_peer_id();
        let admission = Admission::new(id, options.certificate.clone(), events.clone());
        let (transport, relay_client) = transport::build(&key, admission.clone()).map_err(Failure::invalid)?;
        let peers = peers::Behaviour::new(events.clone(), admission.clone(), control);
        let behaviour = Behaviour::new(&key, options, relay_client, peers).map_err(Failure::invalid)?;
        let runtime = Handle::current();
        let executor = move |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let (alive, mut killed) = (alive.clone(), killed.clone());
            runtime.spawn(async move {
                tokio::select! {
                    _ = task => {}
                    _ = killed.wait_for(|k| *k) => {}
                }
                drop(alive);
            });
        };
        let config = libp2p::swarm::Config::with_executor(executor).with_idle_connection_timeout(IDLE_LIMIT);
        let mut swarm = Swarm::new(transport, behaviour, id, config);
        for address in &options.external {
            let address: Multiaddr =
                address.parse().map_err(|e| Failure::invalid(format!("{address} is no multiaddr: {e}")))?;
            swarm.add_external_address(address);
        }
        Ok(Self {
            swarm,
            events,
            admission,
            relay_server: options.relay_server,
            has_external: !options.external.is_empty(),
            dials: HashMap::new(),
            leaving: HashMap::new(),
            listens: HashMap::new(),
            provides: HashMap::new(),
            searches: HashMap::new(),
            lookups: HashMap::new(),
        })
    }

    async fn listen_on_all(&mut self, addresses: &[String]) -> Result<(), Failure> {
        let mut waiting = HashMap::new();
        for text in addresses {
            let address: Multiaddr =
                text.parse().map_err(|e| Failure::invalid(format!("{text} is no multiaddr: {e}")))?;
            // A circuit gets its address from a relay, which may be away for now.
            let circuit = address.iter().any(|p| p == Protocol::P2pCircuit);
            let id = self
                .swarm
                .listen_on(address)
                .map_err(|e| Failure::new(Kind::Unavailable, format!("listen on {text}: {e}")))?;
            if !circuit {
                waiting.insert(id, text);
            }
        }
        let deadline = tokio::time::Instant::now() + LISTEN_LIMIT;
        while !waiting.is_empty() {
            let Ok(event) = tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await else {
                let text = waiting.values().next().map_or("", |t| t.as_str());
                return Err(Failure::new(Kind::Unavailable, format!("listen on {text}: no address within {LISTEN_LIMIT:?}")));
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(text) = waiting.remove(listener_id) {
                        let why = reason.as_ref().err().map(ToString::to_string).unwrap_or_default();
                        return Err(Failure::new(Kind::Unavailable, format!("listen on {text}: {why}")));
                    }
                }
                _ => {}
            }
            self.on_event(event);
        }
        Ok(())
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>, stopping: &mut watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
    }

    async fn say_goodbye(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let deadline = tokio::time::Instant::now() + GOODBYE_LIMIT;
        while self.swarm.network_info().num_peers() > 0 {
            match tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await {
                Ok(event) => self.on_event(event),
                Err(_) => return,
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial(address, reply) => self.dial(address, reply),
            Command::Listen(address, reply) => match self.swarm.listen_on(address.clone()) {
                Ok(id) => {
                    self.listens.insert(id, reply);
                }
                Err(e) => reply(Err(Failure::new(Kind::Unavailable, format!("listen on {address}: {e}")))),
            },
            Command::Disconnect(peer) => {
                if self.swarm.disconnect_peer_id(peer).is_ok() {
                    self.leaving.entry(peer).or_default();
                }
            }
            Command::SetCertificate(certificate) => self.admission.set_certificate(certificate),
            Command::AddAddress(peer, address) => {
                self.swarm.behaviour_mut().kad.add_address(&peer, address);
            }
            Command::Subscribe(topic) => {
                let _ = self.swarm.behaviour_mut().gossipsub.subscribe(&gossipsub::IdentTopic::new(topic));
            }
            Command::Publish(topic, data) => {
                // The only failure that matters, size, was checked by the owner. Nobody listening is no failure.
                let _ = self.swarm.behaviour_mut().gossipsub.publish(gossipsub::IdentTopic::new(topic), data);
            }
            Command::Provide(key, reply) => {
                match self.swarm.behaviour_mut().kad.start_providing(kad::RecordKey::new(&key)) {
                    Ok(id) => {
                        self.provides.insert(id, reply);
                    }
                    Err(e) => reply(Err(Failure::new(Kind::Exhausted, format!("provide: {e}")))),
                }
            }
            Command::Find(key, at_most, reply) => {
                let id = self.swarm.behaviour_mut().kad.get_providers(kad::RecordKey::new(&key));
                self.searches.insert(id, Search { found: HashSet::new(), at_most, reply });
            }
            Command::FindPeer(peer, reply) => {
                let id = self.swarm.behaviour_mut().kad.get_closest_peers(peer);
                self.lookups.insert(id, (peer, reply));
            }
        }
    }

    fn dial(&mut self, address: Multiaddr, reply: Reply<PeerId>) {
        let peer = match address.iter().last() {
            Some(Protocol::P2p(peer)) => Some(peer),
            _ => None,
        };
        if let Some(waiting) = peer.and_then(|peer| self.leaving.get_mut(&peer)) {
            return waiting.push((address, reply));
        }
        let options = match peer {
            Some(peer) if self.swarm.is_connected(&peer) => return reply(Ok(peer)),
            Some(peer) => {
                if let Some(dial) = self.dials.values_mut().find(|dial| dial.peer == Some(peer)) {
                    return dial.waiting.push((address, reply));
                }
                DialOpts::peer_id(peer).addresses(vec![address.clone()]).condition(PeerCondition::Disconnected).build()
            }
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, Dial { peer, address, reply, waiting: Vec::new() });
            }
            Err(error) => reply(Err(dial_failure(&address, &error))),
        }
    }

    fn on_connected(&mut self, connection: ConnectionId, peer: PeerId) {
        let done: Vec<ConnectionId> = self
            .dials
            .iter()
            .filter(|(id, dial)| **id == connection || dial.peer == Some(peer))
            .map(|(id, _)| *id)
            .collect();
        for dial in done.iter().filter_map(|id| self.dials.remove(id)) {
            (dial.reply)(Ok(peer));
            for (_, reply) in dial.waiting {
                reply(Ok(peer));
            }
        }
        for (_, reply) in self.leaving.remove(&peer).into_iter().flatten() {
            reply(Ok(peer)); // the peer came back before it had gone
        }
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, error: &DialError) {
        let Some(dial) = self.dials.remove(&connection) else { return };
        if let Some(peer) = dial.peer.filter(|peer| self.swarm.is_connected(peer)) {
            (dial.reply)(Ok(peer));
        } else {
            (dial.reply)(Err(dial_failure(&dial.address, error)));
        }
        for (address, reply) in dial.waiting {
            if address == dial.address {
                reply(Err(dial_failure(&address, error)));
            } else {
                self.dial(address, reply);
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => self.on_connected(connection_id, peer_id),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                for (address, reply) in self.leaving.remove(&peer_id).into_iter().flatten() {
                    self.dial(address, reply);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.events.address(&address.to_string(), true);
                // A relay tells its clients where it can be reached; what it listens on is the best guess.
                if self.relay_server && !self.has_external {
                    self.swarm.add_external_address(address);
                }
                if let Some(reply) = self.listens.remove(&listener_id) {
                    reply(Ok(()));
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.events.address(&address.to_string(), false),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                for address in addresses {
                    self.events.address(&address.to_string(), false);
                }
                if let Some(reply) = self.listens.remove(&listener_id) {
                    let why = reason.err().map(|e| e.to_string()).unwrap_or_default();
                    reply(Err(Failure::new(Kind::Unavailable, format!("listener closed: {why}"))));
                }
            }
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossipsub(gossipsub::Event::Message { message, .. }) => {
                if let Some(from) = message.source {
                    self.events.message(message.topic.as_str(), &from, &message.data);
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                if info.protocols.contains(&KAD_PROTOCOL) {
                    for address in info.listen_addrs.into_iter().take(ADDRESSES_PER_PEER_MAX) {
                        self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
                    }
                }
            }
            BehaviourEvent::Ping(ping::Event { connection, result: Err(ping::Failure::Timeout), .. }) => {
                // Powered off or cut off: TCP alone would take a quarter of an hour to say so.
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    let options = DialOpts::peer_id(peer)
                        .addresses(vec![address])
                        .condition(PeerCondition::DisconnectedAndNotDialing)
                        .build();
                    let _ = self.swarm.dial(options);
                }
            }
            _ => {}
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(mut record) } } => {
                // kad has checked that the provider is the sender.
                if record.key.as_ref().len() <= KEY_SIZE_MAX {
                    record.addresses.truncate(ADDRESSES_PER_PEER_MAX);
                    let _ = self.swarm.behaviour_mut().kad.store_mut().add_provider(record);
                }
            }
            kad::Event::OutboundQueryProgressed { id, result: kad::QueryResult::StartProviding(_), step, .. } => {
                // A neighbour that did not take the record is no failure: this host answers for it anyway.
                if step.last
                    && let Some(reply) = self.provides.remove(&id)
                {
                    reply(Ok(()));
                }
            }
            kad::Event::OutboundQueryProgressed { id, result: kad::QueryResult::GetProviders(result), step, .. } => {
                let Some(search) = self.searches.get_mut(&id) else { return };
                if let Ok(kad::GetProvidersOk::FoundProviders { providers, .. }) = result {
                    search.found.extend(providers);
                }
                if (step.last || search.found.len() >= search.at_most)
                    && let Some(search) = self.searches.remove(&id)
                {
                    (search.reply)(Ok(search.found.into_iter().take(search.at_most).collect()));
                    if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                        query.finish();
                    }
                }
            }
            kad::Event::OutboundQueryProgressed { id, result: kad::QueryResult::GetClosestPeers(result), step, .. } => {
                if !step.last {
                    return;
                }
                let Some((peer, reply)) = self.lookups.remove(&id) else { return };
                let peers = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                let found = peers.into_iter().find(|info| info.peer_id == peer);
                let addresses = found.map_or_else(Vec::new, |info| info.addrs);
                let complete = addresses.into_iter().take(ADDRESSES_PER_PEER_MAX).filter_map(|a| a.with_p2p(peer).ok());
                reply(Ok(complete.collect()));
            }
            _ => {}
        }
    }
}

fn dial_failure(address: &Multiaddr, error: &DialError) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    // The wrappers repeat the innermost message; what our own admission said is all that is worth telling.
    if let Some(at) = text.find(NOT_ADMITTED) {
        let why: String = text[at..].chars().take_while(|c| *c != '\n').take(300).collect();
        return Failure::new(Kind::NotAdmitted, format!("dial {address}: {why}"));
    }
    match error {
        DialError::LocalPeerId { .. } => Failure::invalid(format!("dial {address}: that is this host itself")),
        _ => Failure::new(Kind::Unavailable, format!("dial {address}: {}", text.chars().take(500).collect::<String>())),
    }
}
