//! A DNS server on loopback that does exactly what a test tells it to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A running server and the questions it got, as `udp a.example. A`.
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl DnsServer {
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics in it").clone()
    }

    /// Datagrams for each query; `number` counts them from 1.
    pub(crate) async fn udp<F>(answer: F) -> Self
    where
        F: Fn(u32, &Message) -> Vec<Vec<u8>> + Send + 'static,
    {
        Self::start(IpAddr::V4(Ipv4Addr::LOCALHOST), answer).await
    }

    /// One well-formed reply for each query, over UDP on `ip`.
    pub(crate) async fn start<F>(ip: IpAddr, answer: F) -> Self
    where
        F: Fn(u32, &Message) -> Vec<Vec<u8>> + Send + 'static,
    {
        let socket = UdpSocket::bind((ip, 0)).await.expect("loopback has ports");
        Self::serve_udp(socket, answer)
    }

    fn serve_udp<F>(socket: UdpSocket, answer: F) -> Self
    where
        F: Fn(u32, &Message) -> Vec<Vec<u8>> + Send + 'static,
    {
        let address = socket.local_addr().expect("bound");
        let asked = Arc::default();
        let server = Self { address, asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            let mut number = 0;
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                number += 1;
                let query = Message::from_vec(&buffer[..length]).expect("a query");
                note(&asked, "udp", &query);
                for datagram in answer(number, &query) {
                    let _ = socket.send_to(&datagram, peer).await;
                }
            }
        });
        server
    }

    /// Gives each connection to `serve` after its query was read; no UDP.
    pub(crate) async fn tcp<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream, Message) -> Fut + Send + Clone + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("ports");
        let asked = Arc::default();
        let server =
            Self { address: listener.local_addr().expect("bound"), asked: Arc::clone(&asked) };
        tokio::spawn(accept(listener, asked, serve));
        server
    }

    /// UDP as told, and a TCP side on the same port that answers with `reply`.
    pub(crate) async fn both<F>(answer: F, reply: fn(&Message) -> Message) -> Self
    where
        F: Fn(u32, &Message) -> Vec<Vec<u8>> + Send + 'static,
    {
        let (socket, listener) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("ports");
            let address = listener.local_addr().expect("bound");
            if let Ok(socket) = UdpSocket::bind(address).await {
                break (socket, listener);
            }
        };
        let server = Self::serve_udp(socket, answer);
        let serve = move |mut stream: TcpStream, query: Message| async move {
            let _ = stream.write_all(&framed(&reply(&query))).await;
        };
        tokio::spawn(accept(listener, Arc::clone(&server.asked), serve));
        server
    }
}

fn note(asked: &Mutex<Vec<String>>, transport: &str, query: &Message) {
    let question = &query.queries[0];
    let text = format!("{transport} {} {}", question.name(), question.query_type());
    asked.lock().expect("no test panics in it").push(text);
}

async fn accept<F, Fut>(listener: TcpListener, asked: Arc<Mutex<Vec<String>>>, serve: F)
where
    F: Fn(TcpStream, Message) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    while let Ok((mut stream, _)) = listener.accept().await {
        let (serve, asked) = (serve.clone(), Arc::clone(&asked));
        tokio::spawn(async move {
            let length = stream.read_u16().await.expect("a length");
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.expect("a query");
            let query = Message::from_vec(&query).expect("a query");
            note(&asked, "tcp", &query);
            serve(stream, query).await;
        });
    }
}

/// A reply to `query` with these records.
pub(crate) fn reply(query: &Message, records: Vec<Record>) -> Message {
    let mut reply = Message::response(query.id, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.queries = query.queries.clone();
    reply.insert_answers(records);
    reply
}

/// A reply to `query` with this code and no records.
pub(crate) fn coded(query: &Message, code: ResponseCode) -> Message {
    let mut reply = reply(query, Vec::new());
    reply.metadata.response_code = code;
    reply
}

/// An answer for whatever name was asked.
pub(crate) fn answering(query: &Message, data: &[RData]) -> Message {
    let owner = query.queries[0].name();
    let record = |data: &RData| Record::from_rdata(owner.clone(), 30, data.clone());
    reply(query, data.iter().map(record).collect())
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("encodes")
}

pub(crate) fn framed(message: &Message) -> Vec<u8> {
    let bytes = bytes(message);
    let length = u16::try_from(bytes.len()).expect("short");
    [length.to_be_bytes().as_slice(), &bytes].concat()
}

pub(crate) fn address(text: &str) -> RData {
    RData::from(IpAddr::from_str(text).expect("an address"))
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_str(text).expect("a name")
}
