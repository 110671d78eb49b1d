//! A store in a table of PostgreSQL.

use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row};

use super::key::Key;
use super::store::{Listed, Over, Page, Read, Store, StoreError, StoreLimits, Tag};
use super::tls::{Tls, is_impostor};
use crate::base::clock::Timestamp;
use crate::base::invalid::ArgumentError;
use crate::base::network::Network;

/// How long a call may take: half of the ten seconds that a lease holds, so that one that is lost leaves time for another.
const ANSWERED: Duration = Duration::from_secs(5);

/// The table, unless told.
const TABLE: &str = "switchback_fleet";

/// Names of PostgreSQL have 63 bytes, and that of the sequence is longer than the table's.
const TABLE_MAX: usize = 50;

/// A server counts in milliseconds, and refuses more than 24 days.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// How many keys a listing gives at once.
const PAGE: usize = 1_000;

/// A store in a table of PostgreSQL, version 12 or newer, for services that have a database anyway.
///
/// One connection serves all calls, and another one is made when it breaks. Connect to the primary, straight or through a pooler
/// that keeps a session for each connection: a server that is a replica is refused, since it may lag. A failover to one that
/// had not got everything takes the fleet back to what it had.
///
/// # Encryption
///
/// Connections are encrypted where the settings say `sslmode=require`, with the feature `fleet-postgres-tls`; without it such settings are
/// refused. The server has to show a certificate for the host's name of the settings, by somebody whom the operating system trusts or
/// one of the file that [`root_certificates`](Self::root_certificates) names: what libpq calls `verify-full`, since a connection to whoever
/// answers keeps nothing secret. A password is bound to the channel, where the server can do so. With any other `sslmode`, or none,
/// nothing is encrypted, whatever the server offers: that is for a Unix socket, a tunnel, or the same machine.
///
/// ```no_run
/// use switchback::fleet::Postgres;
///
/// let store = Postgres::open("host=db.internal user=late dbname=late sslmode=require")?
///     .root_certificates("/etc/late/database-ca.pem")?
///     .create()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Threads, and time
///
/// Calls block. What waits for the network is a thread of the store's own, and a caller waits on a channel: so calls may come from
/// several threads, and one from within a host's asynchronous runtime does not panic, though it holds up the thread that it is
/// made on. A call ends after 5 seconds, or what [`timeout`](Self::timeout) says, with the time for a new connection; the
/// server gives up a statement after as long.
///
/// A put whose statement was sent and not answered is [`Unknown`](StoreError::Unknown): it may have been committed. One to which the
/// server said "error" was not.
///
/// ```no_run
/// use switchback::fleet::{Key, Over, Postgres, Store};
///
/// let store = Postgres::open("host=/run/postgresql user=late dbname=late")?.create()?;
/// let head = Key::new("h/late/head")?;
/// let tag = store.put(&head, b"agreed", Over::Nothing)?;
/// store.put(&head, b"agreed anew", Over::This(&tag))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # How it is done
///
/// A key is a row; each put is one statement, committed by itself, whose condition is the version that it replaces. Versions come from
/// one sequence for all keys, so none is used again after a value was removed; and a tag has the moment of the put
/// too, so that a database that was restored from a backup, where the sequence goes back, gives no tag twice. `at` is the server's clock.
/// Statements are not prepared under a name. The session reads what is committed, and waits for the disk before it acknowledges
/// where the database would not.
pub struct Postgres {
    link: Arc<Link>,
    network: Network,
    /// As SQL has it: a name, or a schema and a name.
    table: String,
}

/// The connection, shared by all calls.
struct Link {
    config: Config,
    /// Whom the server has to be certified by, where connections are encrypted.
    tls: Option<Arc<Tls>>,
    timeout: Duration,
    held: Mutex<Option<Arc<Session>>>,
    /// Held by whoever makes a connection: others wait for that one.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection, for as long as anybody waits for an answer on it.
struct Session {
    client: Client,
    /// What reads and writes it.
    task: AbortHandle,
    /// It is not used again. By itself it would stay open until the server had answered, which may be never.
    is_given_up: AtomicBool,
}

impl Session {
    /// One that is given up where nobody says that it can be used.
    fn new((client, task): (Client, AbortHandle)) -> Self {
        Self { client, task, is_given_up: AtomicBool::new(true) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_given_up.load(Ordering::Relaxed) {
            self.task.abort();
        }
    }
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Postgres {
    /// The store in a database, by an address like `postgres://late@localhost/late`, or settings like those of libpq:
    /// `host=/run/postgresql user=late dbname=late`. Asks nothing of the network yet, so that a process can start while the
    /// server is away.
    ///
    /// The table is `switchback_fleet`, or what [`table`](Self::table) says. Whoever asks needs to be allowed to select, insert, update and
    /// delete its rows, and to use its sequence.
    ///
    /// # Errors
    ///
    /// [`Refused`](StoreError::Refused): the settings cannot be read, or ask for TLS without the feature for it.
    pub fn open(settings: &str) -> Result<Self, StoreError> {
        let mut config: Config = settings.parse().map_err(|error| StoreError::refused(told(&error)))?;
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(Arc::new(Tls::of_system()?)),
            // What the server might offer is not taken, so it is not asked for.
            _ => None,
        };
        if tls.is_none() {
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_application_name().is_none() {
            config.application_name("switchback");
        }
        let link = Link::new(config, tls, ANSWERED);
        let network = Network::new("switchback-fleet-postgres").map_err(StoreError::unreachable)?;
        Ok(Self { link: Arc::new(link), network, table: TABLE.into() })
    }

    /// With another table, for a fleet of its own: `late_fleet`, or with a schema `late.fleet`.
    ///
    /// # Errors
    ///
    /// The name has other letters than `a` to `z`, digits and `_`, begins with a digit, or has more than 50 bytes.
    pub fn table(self, name: &str) -> Result<Self, ArgumentError> {
        let is_name = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
                && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        ArgumentError::unless(
            name.len() <= TABLE_MAX && name.split('.').count() <= 2 && name.split('.').all(is_name),
            "the table",
            name.escape_debug(),
            "a name of `a` to `z`, digits and `_` that begins with no digit, with a schema and a dot before it or not, of at most 50 bytes",
        )?;
        Ok(Self { table: name.into(), ..self })
    }

    /// With another time that a call may take: 5 seconds unless told.
    ///
    /// # Errors
    ///
    /// It is shorter than a millisecond, or longer than a day.
    pub fn timeout(self, timeout: Duration) -> Result<Self, ArgumentError> {
        ArgumentError::unless(
            (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout),
            "the time that a call may take",
            format!("{timeout:?}"),
            "a millisecond to a day",
        )?;
        let link = Link::new(self.link.config.clone(), self.link.tls.clone(), timeout);
        Ok(Self { link: Arc::new(link), ..self })
    }

    /// With those who may certify the server, in place of whom the operating system trusts: a file of certificates in PEM, like libpq's
    /// `sslrootcert`. It is read now.
    ///
    /// # Errors
    ///
    /// [`Refused`](StoreError::Refused): the file cannot be read, or has no certificates; or the settings do not say
    /// `sslmode=require`, so that it would be for nothing.
    pub fn root_certificates(self, file: impl AsRef<Path>) -> Result<Self, StoreError> {
        if self.link.tls.is_none() {
            return Err(StoreError::refused(
                "root certificates are for connections that are encrypted: say `sslmode=require` in the settings",
            ));
        }
        let tls = Tls::of_file(file.as_ref())?;
        let link = Link::new(self.link.config.clone(), Some(Arc::new(tls)), self.link.timeout);
        Ok(Self { link: Arc::new(link), ..self })
    }

    /// Makes the table and its sequence, where a table of that name cannot be seen: in the schema that is named, or in any of the user's search path,
    /// as whoever reads and writes looks for it. Several processes may do so at once.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not let this user make a table where there is none.
    pub fn create(self) -> Result<Self, StoreError> {
        let table = &self.table;
        // One after another: two that make the same table at once are in each other's way. A table that can be seen is the one that is used.
        // Where none can, `IF NOT EXISTS` would look into the first schema of the path alone, and make a second fleet there that hides the first.
        let sql = format!(
            "BEGIN; SELECT pg_advisory_xact_lock(7815697);
             DO $made$ BEGIN
                 IF to_regclass('{table}') IS NULL THEN
                     CREATE SEQUENCE IF NOT EXISTS {table}_version;
                     CREATE TABLE {table} (
                         key text COLLATE \"C\" PRIMARY KEY,
                         version bigint NOT NULL,
                         value bytea NOT NULL,
                         at timestamptz NOT NULL
                     );
                 END IF;
             END $made$; COMMIT"
        );
        let link = Arc::clone(&self.link);
        let made = self.network.wait(async move {
            let deadline = Instant::now() + link.timeout;
            let session = link.connected(deadline).await?;
            let error = match timeout_at(deadline, session.client.batch_execute(&sql)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => failed(&error, false),
                Err(_) => {
                    link.cancel(&session);
                    link.late(false)
                }
            };
            // What is left of a transaction that failed goes with the connection.
            link.forget(&session);
            Err(error)
        });
        made.map_err(StoreError::unreachable)??;
        Ok(self)
    }

    /// The rows that a statement gives.
    fn ask(
        &self,
        sql: String,
        parameters: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
        writes: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let link = Arc::clone(&self.link);
        let rows = self.network.wait(async move { link.ask(&sql, &parameters, writes).await });
        // The thread has gone, with or without having asked.
        rows.map_err(StoreError::unknown)?
    }

    fn key_and(key: &Key, version: Option<(i64, SystemTime)>) -> Vec<(Box<dyn ToSql + Sync + Send>, Type)> {
        vec![
            (Box::new(key.to_string()), Type::TEXT),
            (Box::new(version.map(|(version, _)| version)), Type::INT8),
            (Box::new(version.map(|(_, at)| at)), Type::TIMESTAMPTZ),
        ]
    }
}

impl Link {
    fn new(config: Config, tls: Option<Arc<Tls>>, timeout: Duration) -> Self {
        Self { config, tls, timeout, held: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Nothing came in time, of what was sent.
    fn late(&self, writes: bool) -> StoreError {
        let why = format!("no answer within {:?}", self.timeout);
        if writes { StoreError::unknown(why) } else { StoreError::unreachable(why) }
    }

    /// The connection, made where there is none. Nothing of the caller's has been sent.
    async fn connected(&self, deadline: Instant) -> Result<Arc<Session>, StoreError> {
        let usable = || self.held.lock().clone().filter(|session| !session.client.is_closed());
        if let Some(session) = usable() {
            return Ok(session);
        }
        let made = timeout_at(deadline, async {
            let _alone = self.connecting.lock().await;
            if let Some(session) = usable() {
                return Ok(session);
            }
            let session = Arc::new(self.connect().await?);
            *self.held.lock() = Some(Arc::clone(&session));
            Ok(session)
        });
        made.await.unwrap_or_else(|_| Err(self.late(false)))
    }

    async fn connect(&self) -> Result<Session, StoreError> {
        let session = match &self.tls {
            Some(tls) => tls.connect(&self.config).await?,
            None => self.config.connect(NoTls).await.map(|(client, connection)| {
                // It ends with the client, or with an error that the client tells of.
                (client, tokio::spawn(connection).abort_handle())
            }),
        };
        let session = Session::new(session.map_err(|error| unconnected(&error))?);
        let client = &session.client;
        // None would be for ever.
        let milliseconds = self.timeout.as_millis();
        let sql = format!(
            "SET statement_timeout = {milliseconds};
             SET default_transaction_isolation = 'read committed';
             SELECT set_config('synchronous_commit', 'on', false)
              WHERE current_setting('synchronous_commit') = 'off'"
        );
        client.batch_execute(&sql).await.map_err(|error| unconnected(&error))?;
        let row = client.query_typed_one("SELECT pg_is_in_recovery()", &[]).await;
        match row.and_then(|row| row.try_get::<_, bool>(0)).map_err(|error| unconnected(&error))? {
            true => Err(StoreError::refused("the server is a replica: name the primary")),
            false => {
                session.is_given_up.store(false, Ordering::Relaxed);
                Ok(session)
            }
        }
    }

    async fn ask(
        &self,
        sql: &str,
        parameters: &[(Box<dyn ToSql + Sync + Send>, Type)],
        writes: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let deadline = Instant::now() + self.timeout;
        let session = self.connected(deadline).await?;
        let parameters: Vec<Parameter<'_>> =
            parameters.iter().map(|(value, of)| (&**value as &(dyn ToSql + Sync), of.clone())).collect();
        // It ends once the server is ready for the next one: what it did is committed by then.
        let rows = timeout_at(deadline, session.client.query_typed(sql, &parameters)).await;
        let error = match rows {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) if is_definite(&error) => return Err(failed(&error, writes)),
            Ok(Err(error)) => failed(&error, writes),
            Err(_) => {
                self.cancel(&session);
                self.late(writes)
            }
        };
        self.forget(&session);
        Err(error)
    }

    /// The connection is not used again. Those who still wait for an answer on it do so, and it is closed with the last of them.
    fn forget(&self, session: &Arc<Session>) {
        session.is_given_up.store(true, Ordering::Relaxed);
        let mut held = self.held.lock();
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
            *held = None;
        }
    }

    /// Asks the server to end what it has not answered: it would not see that nobody waits any more, and have a session for it as long as it takes.
    fn cancel(&self, session: &Session) {
        let (token, tls) = (session.client.cancel_token(), self.tls.clone());
        tokio::spawn(timeout(self.timeout, async move {
            match tls {
                Some(tls) => tls.cancel(&token).await,
                None => drop(token.cancel_query(NoTls).await),
            }
        }));
    }
}

impl Store for Postgres {
    fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
        let (table, limit) = (&self.table, self.limits().value_bytes);
        let sql = format!(
            "SELECT version, at, octet_length(value)::bigint,
                    CASE WHEN version = $2 AND at = $3 OR octet_length(value) > {limit} THEN NULL ELSE value END
               FROM {table} WHERE key = $1"
        );
        let rows = self.ask(sql, Self::key_and(key, known.and_then(parsed)), false)?;
        let Some(row) = rows.first() else { return Ok(Read::Absent) };
        let (tag, at) = named(row, 0, 1)?;
        let bytes: i64 = column(row, 2)?;
        match column::<Option<Vec<u8>>>(row, 3)? {
            _ if Some(&tag) == known => Ok(Read::Same),
            Some(bytes) => Ok(Read::Value { bytes, tag, at }),
            None => Err(StoreError::TooLarge { bytes: bytes.unsigned_abs(), limit }),
        }
    }

    fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
        self.limits().check(value)?;
        let (table, value) = (&self.table, Box::new(value.to_vec()));
        let (sql, parameters) = match over {
            Over::Nothing => {
                let sql = format!(
                    "INSERT INTO {table} (key, version, value, at)
                     VALUES ($1, nextval('{table}_version'), $2, clock_timestamp())
                     ON CONFLICT (key) DO NOTHING RETURNING version, at"
                );
                let key = Box::new(key.to_string()) as Box<dyn ToSql + Sync + Send>;
                (sql, vec![(key, Type::TEXT), (value, Type::BYTEA)])
            }
            Over::This(tag) => {
                let sql = format!(
                    "UPDATE {table}
                        SET version = nextval('{table}_version'), value = $4, at = clock_timestamp()
                      WHERE key = $1 AND version = $2 AND at = $3 RETURNING version, at"
                );
                let mut parameters = Self::key_and(key, Some(parsed(tag).ok_or(StoreError::Conflict)?));
                parameters.push((value, Type::BYTEA));
                (sql, parameters)
            }
        };
        let rows = self.ask(sql, parameters, true)?;
        Ok(named(rows.first().ok_or(StoreError::Conflict)?, 0, 1)?.0)
    }

    fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
        // What begins with a key and a slash is before the key and a `0`, which is the letter after it.
        let sql = format!(
            "SELECT version, at, octet_length(value)::bigint, key FROM {}
              WHERE key > $1 AND key < $2 AND key > $3 ORDER BY key LIMIT {}",
            self.table,
            PAGE + 1
        );
        let text = |text: String| (Box::new(text) as Box<dyn ToSql + Sync + Send>, Type::TEXT);
        let after = after.map_or(String::new(), Key::to_string);
        let rows =
            self.ask(sql, vec![text(format!("{under}/")), text(format!("{under}0")), text(after)], false)?;
        let mut page = Page { more: rows.len() > PAGE, ..Page::default() };
        for row in rows.iter().take(PAGE) {
            let (tag, at) = named(row, 0, 1)?;
            let length = column::<i64>(row, 2)?.unsigned_abs();
            // Whatever has another name was not put by a store.
            if let Ok(key) = Key::new(&column::<String>(row, 3)?) {
                page.entries.push(Listed { key, tag, length, at });
            }
        }
        Ok(page)
    }

    fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
        let sql = format!(
            "DELETE FROM {} WHERE key = $1 AND version = $2 AND at = $3 RETURNING version, at",
            self.table
        );
        let that = parsed(that).ok_or(StoreError::Conflict)?;
        let rows = self.ask(sql, Self::key_and(key, Some(that)), true)?;
        rows.first().map(drop).ok_or(StoreError::Conflict)
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits::default()
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("table", &self.table).finish_non_exhaustive()
    }
}

/// The version and the moment of a put, which PostgreSQL knows to the microsecond.
fn named(row: &Row, version: usize, at: usize) -> Result<(Tag, Timestamp), StoreError> {
    let at: SystemTime = column(row, at)?;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let tag = Tag::new(format!("{}-{:x}", column::<i64>(row, version)?, since.as_micros()));
    Ok((tag, Timestamp::from(at)))
}

/// What a tag says. One that says nothing was not given by this store, so it names nothing.
fn parsed(tag: &Tag) -> Option<(i64, SystemTime)> {
    let (version, at) = tag.as_str().split_once('-')?;
    let at = Duration::from_micros(u64::from_str_radix(at, 16).ok()?);
    Some((version.parse().ok()?, SystemTime::UNIX_EPOCH.checked_add(at)?))
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, StoreError> {
    row.try_get(place).map_err(|error| StoreError::damaged(told(&error)))
}

/// An error in words: what the server says, or what lies behind it. What is printed of the error itself is only of which kind it is.
fn told(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

/// Whether the server has said that the statement came to nothing. What is fatal ends the session, at whatever moment.
fn is_definite(error: &Error) -> bool {
    error.as_db_error().and_then(|said| said.parsed_severity()) == Some(Severity::Error)
}

/// Whether somebody has to do something about it: classes of what is not supported, of data, transactions that may only read,
/// authorisation, names that are not there, syntax and access, and limits of the program.
fn is_refusal(error: &Error) -> bool {
    let class = error.code().map(|code| code.code().get(..2).unwrap_or_default());
    class.is_some_and(|class| ["0A", "22", "25", "28", "3D", "3F", "42", "54"].contains(&class))
}

fn failed(error: &Error, writes: bool) -> StoreError {
    if is_definite(error) && is_refusal(error) {
        StoreError::refused(told(error))
    } else if writes && !is_definite(error) {
        StoreError::unknown(told(error))
    } else {
        StoreError::unreachable(told(error))
    }
}

/// No connection was made, so nothing was asked.
fn unconnected(error: &Error) -> StoreError {
    if is_refusal(error) || is_impostor(error) {
        StoreError::refused(told(error))
    } else {
        StoreError::unreachable(told(error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_tag_of_another_store_names_nothing() {
        let tag = Tag::new("17-6439fe1e2f2c0");
        let (version, at) = parsed(&tag).unwrap();
        assert_eq!(version, 17);
        assert_eq!(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros(), 0x6439fe1e2f2c0);
        for other in
            ["", "0-never", "17", "-", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"", "1-ffffffffffffffffff"]
        {
            assert_eq!(parsed(&Tag::new(other)), None, "{other}");
        }
    }

    #[cfg(not(feature = "fleet-postgres-tls"))]
    #[test]
    fn settings_that_ask_for_tls_are_refused_where_there_is_none() {
        let refused = Postgres::open("postgres://late:sesame@localhost/late?sslmode=require").unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
        assert!(refused.to_string().contains("fleet-postgres-tls"), "{refused}");
        assert!(!refused.to_string().contains("sesame"), "{refused}");
    }

    #[cfg(feature = "fleet-postgres-tls")]
    #[test]
    fn a_file_without_certificates_is_refused_by_its_name() {
        let store = || Postgres::open("host=localhost sslmode=require").unwrap();
        for file in ["nowhere.pem", "src", "Cargo.toml"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let refused = store().root_certificates(&file).unwrap_err();
            assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
            assert!(refused.to_string().contains(&file.display().to_string()), "{refused}");
        }
    }

    /// Reads one message of a client's, its type and its length first but for the first one of a connection.
    fn message(stream: &mut TcpStream, is_first: bool) -> Option<(u8, Vec<u8>)> {
        let (mut kind, mut length) = ([0], [0; 4]);
        if !is_first {
            stream.read_exact(&mut kind).ok()?;
        }
        stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut body).ok()?;
        Some((kind[0], body))
    }

    fn answer(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    /// Answers what a session begins with, and nothing that is asked afterwards. Returns once its client has gone; whether that was one that asks
    /// to cancel.
    fn serve(mut stream: TcpStream) -> bool {
        const CANCELS: [u8; 4] = 80_877_102_u32.to_be_bytes();
        let Some((_, first)) = message(&mut stream, true) else { return false };
        if first.starts_with(&CANCELS) {
            return true;
        }
        let ready = answer(b'Z', b"I");
        let begun = [answer(b'R', &[0; 4]), answer(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]), ready.clone()].concat();
        stream.write_all(&begun).unwrap();
        // The settings of the session, and whether the server is a replica: a column of a truth value, and `f`.
        let done = |tag: &[u8]| answer(b'C', &[tag, b"\0"].concat());
        let column =
            [&b"\0\x01x\0"[..], &[0; 6], &16_u32.to_be_bytes(), &[0, 1], &[255; 4], &[0, 1]].concat();
        let row = [&[0, 1][..], &1_u32.to_be_bytes(), &[0]].concat();
        let mut asked = 0;
        while let Some((kind, _)) = message(&mut stream, false) {
            let answers = match (kind, asked) {
                (b'Q', 0) => [done(b"SET"), ready.clone()].concat(),
                (b'S', 0) => continue,
                (b'S', 1) => [
                    answer(b'1', b""),
                    answer(b'2', b""),
                    answer(b'T', &column),
                    answer(b'D', &row),
                    done(b"SELECT 1"),
                    ready.clone(),
                ]
                .concat(),
                _ => continue,
            };
            asked += 1;
            stream.write_all(&answers).unwrap();
        }
        false
    }

    /// Bug: where the server did not answer, as one whose synchronous standby is away, each call that had waited long enough left a connection open,
    /// and its session with the server, until that would take no more. Cause: what reads a connection ends once all answers are there. Fix: it is
    /// ended with the last who waits for one, and the server is asked to cancel what it has not answered.
    #[test]
    fn connections_that_were_given_up_are_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (gone, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, gone) = (stream.unwrap(), gone.clone());
                std::thread::spawn(move || gone.send(serve(stream)));
            }
        });
        let store = Postgres::open(&format!("host=127.0.0.1 port={port} user=late dbname=late")).unwrap();
        let store = store.timeout(Duration::from_secs(3)).unwrap();
        for _ in 0..3 {
            let late = store.put(&Key::new("head").unwrap(), b"1", Over::Nothing).unwrap_err();
            assert!(matches!(late, StoreError::Unknown { .. }), "{late}");
        }
        // Three sessions, and three that cancelled what was asked in them.
        let cancelled: Vec<bool> =
            (0..6).map(|_| ended.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
        assert_eq!(cancelled.iter().filter(|cancelled| **cancelled).count(), 3, "{cancelled:?}");
        drop(store);
    }

    /// Bug: a time that no server takes, or no clock can tell, ended the thread of the store's, or every call. Cause: it was taken as it came. Fix:
    /// what is none of a millisecond to a day is refused.
    #[test]
    fn no_call_may_take_longer_than_a_day() {
        let within = |time| Postgres::open("host=/nowhere user=late").unwrap().timeout(time);
        for time in [Duration::ZERO, Duration::MAX, TIMEOUT_MAX + TIMEOUT_MIN] {
            let refused = within(time).unwrap_err();
            assert!(refused.to_string().contains("a millisecond to a day"), "{refused}");
        }
        let away = within(TIMEOUT_MAX).unwrap().get(&Key::new("head").unwrap(), None).unwrap_err();
        assert!(matches!(away, StoreError::Unreachable { .. }), "{away}");
    }

    #[test]
    fn settings_and_tables_that_are_none_are_refused() {
        let refused = Postgres::open("host=localhost").unwrap().root_certificates("ca.pem").unwrap_err();
        assert!(refused.to_string().contains("sslmode=require"), "{refused}");
        let refused = Postgres::open("host=localhost nonsense=sesame").unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
        let store = || Postgres::open("host=/nowhere user=late").unwrap();
        for bad in ["", "1a", "a b", "a;b", "a.b.c", "Ä", "a\"", &"a".repeat(51)] {
            assert!(store().table(bad).is_err(), "{bad}");
        }
        let store = store().table("late.fleet").unwrap();
        assert!(!format!("{store:?}").contains("nowhere"), "{store:?}");
        let away = store.get(&Key::new("head").unwrap(), None).unwrap_err();
        assert!(matches!(away, StoreError::Unreachable { .. }), "{away}");
        let away = store.put(&Key::new("head").unwrap(), b"1", Over::Nothing).unwrap_err();
        assert!(matches!(away, StoreError::Unreachable { .. }), "nothing was sent: {away}");
    }
}
