//! A network between agents and brokers that can be made bad: slow, cut, silent, or losing just the answer to one kind of request. Threads
//! and sockets on loopback.
//!
//! It knows of Kafka's protocol what stands at the head of a message: a request's length, API key, version and correlation id; an answer's
//! length and correlation id.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Kafka's API keys.
pub const PRODUCE: i16 = 0;
pub const INIT_PRODUCER_ID: i16 = 22;
pub const ADD_PARTITIONS: i16 = 24;
pub const END_TXN: i16 = 26;

/// What is passed on at once, on a link with a rate: small beside what it carries in a second.
const PIECE: usize = 8 * 1024;

/// Where clients come in, and the broker behind it.
pub struct Door {
    listener: TcpListener,
    broker: SocketAddr,
}

impl Door {
    /// For the broker's listener at `port`, at the port behind it.
    pub fn new(port: u16) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Door { listener: TcpListener::bind(at(port + 1)).unwrap(), broker: at(port) }
    }
}

/// How an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The broker did what was asked; in place of the answer the connection ends.
    Cut,
    /// The broker did what was asked; from the answer on, the connection is silent for good: no end of it is told either.
    Silence,
    /// The request does not reach the broker. When the connection to it ends, the client is told.
    Request,
    /// The request reaches the broker, its answer is kept back. When the connection to the broker ends, the client is told.
    Answer,
}

/// A client's ways to the brokers of a bed, good until it is made bad.
pub struct Link {
    /// Where the client comes in, for each node.
    pub addresses: Vec<String>,
    net: Arc<Net>,
}

/// Shared by the threads of a link.
struct Net {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Before every message, either way.
    delay: Duration,
    /// Nothing passes, and nobody is told.
    silent: bool,
    /// Bytes a second, either way.
    rate: Option<u32>,
    /// When what was promised is through: up, down.
    through: [Option<Instant>; 2],
    /// The next request of this API loses its answer.
    traps: BTreeMap<i16, Loss>,
    /// What was caught: API, and the broker's port.
    caught: Vec<(i16, u16)>,
    connections: Vec<Weak<Connection>>,
}

/// One connection of a client.
struct Connection {
    client: TcpStream,
    broker: TcpStream,
    /// For good: what comes is dropped, and the end of one side is not told to the other.
    silent: AtomicBool,
    /// Requests on their way: correlation id → API, and how the answer is lost.
    lossy: Mutex<HashMap<i32, (i16, Loss)>>,
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl Link {
    pub fn new(doors: Vec<Door>) -> Self {
        let addresses = doors.iter().map(|door| door.listener.local_addr().unwrap().to_string()).collect();
        let net = Arc::new(Net { state: Mutex::default() });
        for door in doors {
            let net = net.clone();
            std::thread::spawn(move || {
                for client in door.listener.incoming().flatten() {
                    // A broker that is dead refuses: the client sees its connection end.
                    let Ok(broker) = TcpStream::connect(door.broker) else { continue };
                    net.carry(client, broker);
                }
            });
        }
        Link { addresses, net }
    }

    /// Every message waits for so long.
    pub fn delay(&self, delay: Duration) {
        self.net.state().delay = delay;
    }

    /// So many bytes a second, either way.
    pub fn slow(&self, rate: u32) {
        self.net.state().rate = Some(rate);
    }

    /// Half open: connections are accepted, those that there are stay, and what is sent on any of them is swallowed. Ends with `false` for new
    /// connections; the old ones never recover.
    pub fn silence(&self, silent: bool) {
        let mut state = self.net.state();
        state.silent = silent;
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            connection.silent.store(true, Ordering::SeqCst);
        }
    }

    /// Ends all connections, but for the silent ones: of those nobody is told anything.
    pub fn cut(&self) {
        let told = |connection: &Connection| !connection.silent.load(Ordering::SeqCst);
        let connections: Vec<_> = self.net.state().connections.iter().filter_map(Weak::upgrade).collect();
        connections.iter().filter(|connection| told(connection)).for_each(|connection| connection.end());
    }

    /// The next request of this API loses its answer.
    pub fn trap(&self, api: i16, loss: Loss) {
        self.net.state().traps.insert(api, loss);
    }

    /// Traps that did not catch anything are taken away.
    pub fn untrap(&self) {
        self.net.state().traps.clear();
    }

    /// What traps have caught so far: API, and at which node's place among the addresses.
    pub fn caught(&self) -> Vec<(i16, usize)> {
        let place = |port: u16| self.addresses.iter().position(|a| a.ends_with(&format!(":{}", port + 1))).unwrap();
        self.net.state().caught.iter().map(|(api, port)| (*api, place(*port))).collect()
    }
}

impl Net {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(self: &Arc<Self>, client: TcpStream, broker: TcpStream) {
        for stream in [&client, &broker] {
            stream.set_nodelay(true).unwrap();
        }
        let mut state = self.state();
        let silent = AtomicBool::new(state.silent);
        let connection = Arc::new(Connection { client, broker, silent, lossy: Mutex::default() });
        state.connections.retain(|connection| connection.strong_count() > 0);
        state.connections.push(Arc::downgrade(&connection));
        drop(state);
        for way in [Net::up, Net::down] {
            let (net, connection) = (self.clone(), connection.clone());
            std::thread::spawn(move || {
                let _ended = way(&net, &connection);
                if !connection.silent.load(Ordering::SeqCst) {
                    connection.end();
                }
            });
        }
    }

    /// Requests, one after the other.
    fn up(&self, connection: &Connection) -> Result<()> {
        let mut head = [0; 12];
        loop {
            (&connection.client).read_exact(&mut head)?;
            let api = i16::from_be_bytes([head[4], head[5]]);
            let id = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
            let loss = self.state().traps.remove(&api);
            if let Some(loss) = loss {
                connection.lossy().insert(id, (api, loss));
            }
            self.message(connection, Way::Up, &head, loss != Some(Loss::Request))?;
            if matches!(loss, Some(Loss::Request | Loss::Answer)) {
                self.caught(api, connection)?;
            }
        }
    }

    /// Answers, one after the other.
    fn down(&self, connection: &Connection) -> Result<()> {
        let mut head = [0; 8];
        loop {
            (&connection.broker).read_exact(&mut head)?;
            let id = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            let loss = connection.lossy().remove(&id);
            match loss {
                Some((api, Loss::Cut)) => return self.caught(api, connection),
                Some((api, Loss::Silence)) => {
                    connection.silent.store(true, Ordering::SeqCst);
                    self.caught(api, connection)?;
                }
                _ => {}
            }
            self.message(connection, Way::Down, &head, loss.is_none())?;
        }
    }

    fn caught(&self, api: i16, connection: &Connection) -> Result<()> {
        let port = connection.broker.peer_addr()?.port();
        self.state().caught.push((api, port));
        Ok(())
    }

    /// A message that begins with `head`: carried over, or dropped.
    fn message(&self, connection: &Connection, way: Way, head: &[u8], passes: bool) -> Result<()> {
        let (mut from, mut to) = match way {
            Way::Up => (&connection.client, &connection.broker),
            Way::Down => (&connection.broker, &connection.client),
        };
        let mut left = 4 + i32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize - head.len();
        let delay = self.state().delay;
        std::thread::sleep(delay);
        let mut pass = |piece: &[u8]| {
            self.wait_for_room(way, piece.len());
            let drops = !passes || connection.silent.load(Ordering::SeqCst);
            if drops { Ok(()) } else { to.write_all(piece) }
        };
        pass(head)?;
        let mut piece = [0; PIECE];
        while left > 0 {
            let size = left.min(PIECE);
            from.read_exact(&mut piece[..size])?;
            pass(&piece[..size])?;
            left -= size;
        }
        Ok(())
    }

    /// Waits as long as so many bytes take, behind all that came before them.
    fn wait_for_room(&self, way: Way, bytes: usize) {
        let mut state = self.state();
        let Some(rate) = state.rate else { return };
        let now = Instant::now();
        let through = &mut state.through[way as usize];
        let done = through.map_or(now, |at| at.max(now)) + Duration::from_secs(1) * bytes as u32 / rate;
        *through = Some(done);
        drop(state);
        std::thread::sleep(done - now);
    }
}

impl Connection {
    fn lossy(&self) -> MutexGuard<'_, HashMap<i32, (i16, Loss)>> {
        self.lossy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told to both sides.
    fn end(&self) {
        for stream in [&self.client, &self.broker] {
            let _ = stream.shutdown(Shutdown::Both); // it may have ended by itself
        }
    }
}
