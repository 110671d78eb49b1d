//! A service on tokio that calls its model without blocking its reactor.
//!
//! A prediction is work, not waiting: it belongs on threads that may be busy. Each request takes a permit, of which
//! there are as many as the model has sessions, and runs on tokio's blocking pool; the reactor stays free to accept,
//! to answer and to time out. Feedback and status take microseconds and can be called where they come up; what changes something, a
//! rollback too, may wait for a disk or for a version that has gone cold, and belongs on the blocking pool as well.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

mod flights;

use flights::{Flight, Late};
use switchback::options::Threads;
use switchback::{Answer, ModelHandle, Outcome, PredictError, Task};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What the service's tasks share.
#[derive(Clone)]
struct Service {
    model: ModelHandle<Flight, Late>,
    permits: Arc<Semaphore>,
    flights: Arc<Vec<Flight>>,
}

impl Service {
    /// Answers without blocking the reactor.
    async fn predict(&self, row: usize) -> Result<Answer<Late>, Box<dyn Error + Send + Sync>> {
        let _permit = self.permits.acquire().await?;
        let Self { model, flights, .. } = self.clone();
        let answer = move || -> Result<Option<Answer<Late>>, PredictError> {
            flights.get(row).map(|flight| model.predict(flight)).transpose()
        };
        Ok(tokio::task::spawn_blocking(answer).await??.ok_or("there is no such flight")?)
    }

    /// A line is a row number, or an id and what turned out to be true.
    async fn serve(self, stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await? {
            let reply = match line.split_once(' ') {
                None => {
                    let answer = self.predict(line.parse()?).await?;
                    format!("{} {:.3} {}\n", answer.id(), answer.output().probability, answer.version())
                }
                Some((id, late)) => {
                    let outcome = Outcome::class(u16::from(late == "late"));
                    format!("{:?}\n", self.model.feedback(id.parse()?, outcome))
                }
            };
            writer.write_all(reply.as_bytes()).await?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights");
    let load = || -> Result<_, Box<dyn Error>> {
        let model = ModelHandle::builder("late-arrival")
            .live("v2", flights::version("v2", &here.join("models"))?)
            .task(Task::binary(|answer: &Late| answer.probability))
            .threads(Threads::background())
            .build()?;
        Ok((model, flights::load(&here.join("flights.csv.gz"))?))
    };
    let (model, rows) = load().map_err(|error| error.to_string())?;
    let sessions = std::thread::available_parallelism().map_or(1, usize::from);
    let service = Service {
        model: model.clone(),
        permits: Arc::new(Semaphore::new(sessions)),
        flights: Arc::new(rows),
    };

    // One thread for the reactor: were a prediction to block it, nobody else would be served.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(service.clone().serve(stream));
            }
        });
        let clients: Vec<_> = (0..8_usize).map(|client| tokio::spawn(talk(address, client * 100))).collect();
        for client in clients {
            client.await??;
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    })?;

    let status = model.status();
    let figures = &status.versions.first().ok_or("no version")?.total;
    println!("{} requests answered, {} with their truth", figures.requests, figures.outcomes);
    model.close(Duration::from_secs(5))?;
    if figures.requests == 800 && figures.outcomes == 800 {
        Ok(())
    } else {
        Err("some requests are missing".into())
    }
}

/// A client: a hundred flights, and what became of them.
async fn talk(address: std::net::SocketAddr, first: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let mut replies = BufReader::new(reader).lines();
    for row in first..first + 100 {
        writer.write_all(format!("{row}\n").as_bytes()).await?;
        let reply = replies.next_line().await?.ok_or("the service hung up")?;
        let id = reply.split(' ').next().unwrap_or_default();
        writer.write_all(format!("{id} on-time\n").as_bytes()).await?;
        replies.next_line().await?.ok_or("the service hung up")?;
    }
    Ok(())
}
