//! The libp2p host of tau: transports with admission in front of the swarm, the behaviours, and the loop that drives
//! them. Nothing here knows C++; `p2p` is the bridge. Apart from the bridge because these generics compile slowly.

mod admission;
mod behaviour;
mod crowd;
mod host;
mod peers;
mod transport;

pub use admission::{NOT_ADMITTED, Refusal};
pub use host::{Failure, Host, Kind, Options, Reply};
pub use libp2p;
pub use peers::PeerStream;

use libp2p::PeerId;

/// What a host tells its owner. Called from tokio threads, several at once; must not block.
pub trait Events: Send + Sync + 'static {
    /// Whether the peer that proved to be `peer` may join with this certificate; the reason if not.
    fn admit(&self, peer: &PeerId, certificate: &[u8]) -> Result<(), Refusal>;
    /// The first connection to a peer; before any of its streams.
    fn peer_up(&self, peer: &PeerId, certificate: &[u8]);
    /// The last connection to a peer has closed.
    fn peer_down(&self, peer: &PeerId);
    fn message(&self, topic: &str, from: &PeerId, data: &[u8]);
    fn inbound_stream(&self, peer: &PeerId, protocol: &str, stream: PeerStream);
    fn address(&self, address: &str, listening: bool);
    /// The host ended without having been told to.
    fn failed(&self, why: &str);
}
