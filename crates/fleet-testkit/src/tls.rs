//! TLS before a server that speaks plainly, with a certificate of an authority that only those trust who are told to.
//!
//! The authority and the certificate for 127.0.0.1 were made once, for a hundred years, and the authority's key was thrown
//! away. The key of the service is no secret.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// The certificate of the authority, for a file that `SSL_CERT_FILE` names.
pub const AUTHORITY: &str = include_str!("tls/authority.pem");

const SERVICE: &[u8] = include_bytes!("tls/service.pem");
const KEY: &[u8] = include_bytes!("tls/service-key.pem");

/// A server that hands what comes in by TLS to another one. It ends when it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TlsFront {
    /// One before the server at `plain`.
    ///
    /// # Panics
    /// When no port can be had.
    #[track_caller]
    pub fn before(plain: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let acceptor = TlsAcceptor::from(Arc::new(config()));
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a runtime with its network takes it");
                tokio::select! {
                    () = accept(listener, acceptor, plain) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("tls-front".into()).spawn(serve);
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread.expect("a thread")),
        }
    }

    /// The base URL, `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config() -> ServerConfig {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(SERVICE).collect();
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that the provider has")
        .with_no_client_auth()
        .with_single_cert(certificates.expect("certificates"), key)
        .expect("a certificate for this key")
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, plain: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Whoever does not trust the certificate goes away.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            if let Ok(mut server) = TcpStream::connect(plain).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            }
        });
    }
}
