//! Admission: what stands between a secured, multiplexed connection and the swarm.
//!
//! The dialer opens one substream and shows its certificate; the listener checks it and only then shows its own; the
//! dialer checks that and says so. Both have then accepted, and the connection goes to the swarm. Anybody else is cut
//! off there, before identify or any protocol negotiation: a stranger learns that something speaks libp2p here, no more.
//!
//! Frame: magic, u8 verdict (1 accepted so far, 0 refused), u16 length + peer id that the sender believes it talks to,
//! u16 length + certificate (big endian). The dialer's last word is one byte, 1. A refusal ends after the verdict, or, for
//! who has been a member (expired, revoked), with u16 length + the reason in UTF-8.

use crate::Events;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Protocol;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

/// Every error of this module starts with this, so that a failed dial can be told from an unreachable address.
pub const NOT_ADMITTED: &str = "not admitted: ";

const MAGIC: &[u8; 16] = b"/tau/admission/1";
/// Two round trips and two signature checks; ample on any link, short enough to free the slot of a silent stranger.
const LIMIT: Duration = Duration::from_secs(5);
/// The C++ side bounds a certificate to 4096 bytes and a peer id is 38; more is not worth reading.
const CERTIFICATE_SIZE_MAX: usize = 4096;
const PEER_ID_SIZE_MAX: usize = 64;
/// One sentence.
const REASON_SIZE_MAX: usize = 512;
/// Certificates kept between admission and the swarm's own event. Only members get here; 4096 is far above what connects
/// within the microseconds between the two.
const REMEMBERED_MAX: usize = 4096;

/// Why a peer may not join, and whether it may know.
pub struct Refusal {
    pub why: String,
    pub tell: bool,
}

pub struct Admission {
    me: PeerId,
    certificate: Mutex<Vec<u8>>,
    events: Arc<dyn Events>,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    by_peer: HashMap<PeerId, Vec<u8>>,
    order: VecDeque<PeerId>,
}

impl Admission {
    pub fn new(me: PeerId, certificate: Vec<u8>, events: Arc<dyn Events>) -> Arc<Self> {
        Arc::new(Self { me, certificate: Mutex::new(certificate), events, shown: Mutex::default() })
    }

    /// What is shown at every connection from now on.
    pub fn set_certificate(&self, certificate: Vec<u8>) {
        *self.certificate.lock().unwrap_or_else(|e| e.into_inner()) = certificate;
    }

    /// The certificate that an admitted peer showed last.
    pub fn certificate_of(&self, peer: &PeerId) -> Vec<u8> {
        let shown = self.shown.lock().unwrap_or_else(|e| e.into_inner());
        shown.by_peer.get(peer).cloned().unwrap_or_default()
    }

    fn remember(&self, peer: PeerId, certificate: Vec<u8>) {
        let mut shown = self.shown.lock().unwrap_or_else(|e| e.into_inner());
        if shown.by_peer.insert(peer, certificate).is_none() {
            shown.order.push_back(peer);
        }
        if shown.order.len() > REMEMBERED_MAX
            && let Some(oldest) = shown.order.pop_front()
        {
            shown.by_peer.remove(&oldest);
        }
    }

    /// The transport upgrade.
    pub async fn upgrade(
        self: Arc<Self>,
        (peer, mut muxer): (PeerId, StreamMuxerBox),
        endpoint: ConnectedPoint,
    ) -> io::Result<(PeerId, StreamMuxerBox)> {
        if let ConnectedPoint::Dialer { address, .. } = &endpoint
            && let Some(Protocol::P2p(expected)) = address.iter().last()
            && expected != peer
        {
            return Err(refusal(format!("{expected} was dialed, {peer} answered")));
        }
        let certificate = match tokio::time::timeout(LIMIT, self.exchange(peer, &mut muxer, &endpoint)).await {
            Ok(done) => done?,
            Err(_) => return Err(refusal(format!("{peer} did not show a certificate within {LIMIT:?}"))),
        };
        self.remember(peer, certificate);
        Ok((peer, muxer))
    }

    async fn exchange(&self, peer: PeerId, muxer: &mut StreamMuxerBox, endpoint: &ConnectedPoint) -> io::Result<Vec<u8>> {
        let dialer = match endpoint {
            ConnectedPoint::Dialer { role_override, .. } => *role_override == Endpoint::Dialer,
            ConnectedPoint::Listener { .. } => false,
        };
        if dialer {
            let stream = poll_fn(|cx| {
                if let Poll::Ready(stream) = muxer.poll_outbound_unpin(cx) {
                    return Poll::Ready(stream);
                }
                drive(muxer, cx).map(Err)
            })
            .await
            .map_err(|e| lost(peer, e))?;
            alongside(muxer, self.as_dialer(peer, stream)).await
        } else {
            let stream = poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.map_err(|e| lost(peer, e))?;
            alongside(muxer, self.as_listener(peer, stream)).await
        }
    }

    async fn as_dialer(&self, peer: PeerId, mut stream: SubstreamBox) -> io::Result<Vec<u8>> {
        self.send_certificate(peer, &mut stream).await.map_err(|e| lost(peer, e))?;
        let certificate = self.receive_certificate(peer, &mut stream).await?;
        if let Err(refused) = self.events.admit(&peer, &certificate) {
            say_refused(&mut stream, &[0], &refused).await;
            return Err(refusal(refused.why));
        }
        let accepted = async {
            stream.write_all(&[1]).await?;
            stream.close().await
        };
        accepted.await.map_err(|e| lost(peer, e))?;
        Ok(certificate)
    }

    async fn as_listener(&self, peer: PeerId, mut stream: SubstreamBox) -> io::Result<Vec<u8>> {
        let certificate = self.receive_certificate(peer, &mut stream).await?;
        if let Err(refused) = self.events.admit(&peer, &certificate) {
            let mut head = MAGIC.to_vec();
            head.push(0);
            say_refused(&mut stream, &head, &refused).await;
            return Err(refusal(refused.why));
        }
        self.send_certificate(peer, &mut stream).await.map_err(|e| lost(peer, e))?;
        let mut verdict = [0u8; 1];
        stream.read_exact(&mut verdict).await.map_err(|e| lost(peer, e))?;
        if verdict != [1] {
            return Err(refused_by(peer, &mut stream).await);
        }
        Ok(certificate)
    }

    async fn send_certificate(&self, peer: PeerId, stream: &mut SubstreamBox) -> io::Result<()> {
        let peer = peer.to_bytes();
        let certificate = self.certificate.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let mut frame = Vec::with_capacity(MAGIC.len() + 5 + peer.len() + certificate.len());
        frame.extend_from_slice(MAGIC);
        frame.push(1);
        for part in [&peer, &certificate] {
            let length = u16::try_from(part.len()).map_err(io::Error::other)?;
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(part);
        }
        stream.write_all(&frame).await?;
        stream.flush().await
    }

    async fn receive_certificate(&self, peer: PeerId, stream: &mut SubstreamBox) -> io::Result<Vec<u8>> {
        let mut head = [0u8; MAGIC.len() + 1];
        stream.read_exact(&mut head).await.map_err(|e| lost(peer, e))?;
        if &head[..MAGIC.len()] != MAGIC {
            return Err(refusal(format!("{peer} does not speak admission")));
        }
        if head[MAGIC.len()] != 1 {
            return Err(refused_by(peer, stream).await);
        }
        let believed = read_part(stream, PEER_ID_SIZE_MAX, peer).await?;
        if believed != self.me.to_bytes() {
            return Err(refusal(format!("{peer} believes to talk to somebody else")));
        }
        read_part(stream, CERTIFICATE_SIZE_MAX, peer).await
    }
}

/// A courtesy to a member with an old certificate. That the connection ends is what keeps strangers out.
async fn say_refused(stream: &mut SubstreamBox, head: &[u8], refused: &Refusal) {
    let mut frame = head.to_vec();
    if refused.tell {
        let reason = &refused.why.as_bytes()[..refused.why.len().min(REASON_SIZE_MAX)];
        frame.extend_from_slice(&(reason.len() as u16).to_be_bytes());
        frame.extend_from_slice(reason);
    }
    let _ = stream.write_all(&frame).await;
    let _ = stream.close().await;
    let mut last = [0u8; 1];
    let _ = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut last)).await;
}

async fn refused_by(peer: PeerId, stream: &mut SubstreamBox) -> io::Error {
    let refused = format!("{peer} refused this host's certificate");
    match read_part(stream, REASON_SIZE_MAX, peer).await {
        Ok(reason) => refusal(format!("{refused}: {}", String::from_utf8_lossy(&reason))),
        Err(_) => refusal(refused),
    }
}

async fn read_part(stream: &mut SubstreamBox, most: usize, peer: PeerId) -> io::Result<Vec<u8>> {
    let mut length = [0u8; 2];
    stream.read_exact(&mut length).await.map_err(|e| lost(peer, e))?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > most {
        return Err(refusal(format!("{peer} sent {length} bytes where {most} are allowed")));
    }
    let mut part = vec![0; length];
    stream.read_exact(&mut part).await.map_err(|e| lost(peer, e))?;
    Ok(part)
}

fn refusal(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{NOT_ADMITTED}{why}"))
}

fn lost(peer: PeerId, error: io::Error) -> io::Error {
    refusal(format!("{peer} ended the connection before it was admitted ({error})"))
}

/// A muxer moves bytes only while it is polled; ready with the error when the connection has failed.
fn drive(muxer: &mut StreamMuxerBox, cx: &mut std::task::Context<'_>) -> Poll<io::Error> {
    loop {
        match Pin::new(&mut *muxer).poll(cx) {
            Poll::Ready(Ok(_address_change)) => continue,
            Poll::Ready(Err(error)) => return Poll::Ready(error),
            Poll::Pending => return Poll::Pending,
        }
    }
}

async fn alongside<T>(muxer: &mut StreamMuxerBox, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if let Poll::Ready(error) = drive(muxer, cx) {
            // What had arrived before the connection failed may be the reason why.
            return match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => Poll::Ready(Err(refusal(format!("connection lost ({error})")))),
            };
        }
        // Driving may have brought what `work` waits for, without waking this task.
        work.as_mut().poll(cx)
    })
    .await
}
