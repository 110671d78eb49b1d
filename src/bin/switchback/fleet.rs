//! `switchback fleet`: a fleet in its store, looked at and operated while its processes run, or while none does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use switchback::RollbackOutcome;
use switchback::fleet::{Directory, Store};
use switchback::operator::{FleetFault, FleetFinding, FleetLeftover, FleetOperator, FleetOverview};
use switchback::options::Fleet;
use switchback::repository::Moment;
use switchback::status::{FleetMember, Quarantined};

use crate::Failure;
use crate::out::{Out, ask, bytes};
use crate::progress::Progress;
use crate::remote::reason;
use crate::state::{JUDGED, ROLLOUTS, judged, retained_row, rollout_row};

/// The variable with the fleet's secret.
const SECRET: &str = "SWITCHBACK_FLEET_SECRET";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows what is agreed on, what is on trial and what guards say of it, and which processes are there.
    Status(Of),
    /// Tells what was agreed on, oldest first: who did what, and when by their clock.
    Log {
        #[command(flatten)]
        of: Of,
        /// The last so many.
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        last: usize,
    },
    /// Takes every candidate off; where there is none, live goes back to the version before. In all processes.
    Rollback(Reasoned),
    /// Lets no plan raise anything, in any process.
    Freeze(Reasoned),
    /// Lets plans go on.
    Unfreeze {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        by: By,
    },
    /// Holds all that lies in the store against the rest of it. Ends with 1 where something is wrong.
    Verify(Of),
    /// Removes what nobody can miss: rows of processes that are over, filed heads that no process needs. For a daily job.
    Sweep {
        #[command(flatten)]
        of: Of,
        /// Leaves what is younger, by the store's clock.
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = humantime::parse_duration)]
        older_than: Duration,
        /// Shows what it would remove.
        #[arg(long)]
        dry_run: bool,
    },
    /// Begins a new term where what was agreed on is gone, damaged, or was put back to what it was. Where there is more than one history
    /// it says which, and takes the one that `--from` names.
    Repair {
        #[command(flatten)]
        reasoned: Reasoned,
        /// The head to go on from, as an attempt without it names them.
        #[arg(long, value_name = "HEAD")]
        from: Option<String>,
        /// Does not ask first.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub(crate) struct Of {
    /// Where the fleet agrees: a folder, and with the features of their names a bucket (s3://.., gs://.., az://..) or PostgreSQL
    /// (postgres://.., without a password, which is taken from PGPASSWORD).
    store: String,
    /// The name of its handles.
    model: String,
    /// The key that its members are given: `Fleet::under`.
    #[arg(long, value_name = "KEY", default_value = "switchback")]
    under: String,
    /// A file whose bytes, all of them, are the fleet's secret, in place of the variable SWITCHBACK_FLEET_SECRET. Said again it adds one
    /// that is accepted and not written with.
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// The table of a PostgreSQL, where it is another one.
    #[cfg(feature = "fleet-postgres")]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// A file of those who may certify a PostgreSQL that is reached with `sslmode=require`, in place of whom this machine trusts.
    #[cfg(feature = "fleet-postgres")]
    #[arg(long, value_name = "FILE")]
    root_certificates: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct By {
    /// Who does it, for the log; by default who is logged in.
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
}

#[derive(Args)]
pub(crate) struct Reasoned {
    #[command(flatten)]
    of: Of,
    /// Why: it stands in the log.
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    by: By,
}

impl Of {
    fn operator(&self, by: Option<&By>) -> Result<FleetOperator, Failure> {
        let mut fleet = Fleet::on(self.open()?).under(&self.under);
        let given = std::env::var(SECRET).ok().filter(|_| self.secret_file.is_empty());
        if let Some(secret) = given {
            fleet = fleet.secret(secret);
        }
        for file in &self.secret_file {
            let secret = std::fs::read(file)
                .map_err(|error| Failure::Unreadable(file.display().to_string(), error))?;
            fleet = fleet.secret(secret);
        }
        let operator = FleetOperator::new(&fleet, &self.model)?;
        let actor = by.and_then(|by| by.actor.clone().or_else(|| std::env::var("USER").ok()));
        Ok(actor.map_or(operator.clone(), |actor| operator.acting_as(&actor)))
    }

    fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        let address = &self.store;
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme));
        if is_postgres {
            return self.postgres();
        }
        if address.contains("://") && !address.starts_with("file://") {
            return bucket(address);
        }
        let folder = address.strip_prefix("file://").unwrap_or(address);
        Ok(Arc::new(Directory::open(folder).map_err(FleetFailure::from)?))
    }

    #[cfg(feature = "fleet-postgres")]
    fn postgres(&self) -> Result<Arc<dyn Store>, Failure> {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let mut address = self.store.clone();
        // As far as whoever connects takes it for a login: a password may have a slash in it.
        let login = address.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        if login.is_some_and(|(login, _)| login.contains(':')) || address.contains("password=") {
            return Err(Failure::Refused(String::from(
                "whoever lists processes sees what is on the command line: leave the password out, and put it into PGPASSWORD",
            )));
        }
        if let Ok(password) = std::env::var("PGPASSWORD") {
            let joint = if address.contains('?') { '&' } else { '?' };
            address =
                format!("{address}{joint}password={}", utf8_percent_encode(&password, NON_ALPHANUMERIC));
        }
        let mut store = switchback::fleet::Postgres::open(&address).map_err(FleetFailure::from)?;
        if let Some(file) = &self.root_certificates {
            store = store.root_certificates(file).map_err(FleetFailure::from)?;
        }
        Ok(match &self.table {
            Some(table) => Arc::new(store.table(table).map_err(FleetFailure::from)?),
            None => Arc::new(store),
        })
    }

    #[cfg(not(feature = "fleet-postgres"))]
    #[expect(clippy::unused_self, reason = "with the feature `fleet-postgres` it opens one")]
    fn postgres(&self) -> Result<Arc<dyn Store>, Failure> {
        Err(Failure::Refused(String::from("this program is built without the feature `fleet-postgres`")))
    }
}

#[cfg(feature = "fleet-bucket")]
fn bucket(address: &str) -> Result<Arc<dyn Store>, Failure> {
    Ok(Arc::new(switchback::fleet::Bucket::from_url(address).map_err(FleetFailure::from)?))
}

#[cfg(not(feature = "fleet-bucket"))]
fn bucket(_: &str) -> Result<Arc<dyn Store>, Failure> {
    Err(Failure::Refused(String::from("this program is built without the feature `fleet-bucket`")))
}

type FleetFailure = switchback::operator::FleetError;

impl Command {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        match self {
            Self::Status(of) => {
                let operator = of.operator(None)?;
                status(out, &asking(|| operator.overview())?)
            }
            Self::Log { of, last } => log(out, &of.operator(None)?, last),
            Self::Rollback(Reasoned { of, reason, by }) => {
                let operator = of.operator(Some(&by))?;
                rolled_back(out, asking(|| operator.rollback(reason))?)
            }
            Self::Freeze(Reasoned { of, reason, by }) => {
                let operator = of.operator(Some(&by))?;
                let done = asking(|| operator.freeze(reason))?;
                changed(out, "frozen", done, "it is frozen: no plan raises anything", "it was frozen before")
            }
            Self::Unfreeze { of, by } => {
                let operator = of.operator(Some(&by))?;
                let done = asking(|| operator.unfreeze())?;
                changed(out, "unfrozen", done, "plans go on", "it was not frozen")
            }
            Self::Verify(of) => verify(out, &of.operator(None)?),
            Self::Sweep { of, older_than, dry_run } => sweep(out, &of.operator(None)?, older_than, dry_run),
            Self::Repair { reasoned: Reasoned { of, reason, by }, from, yes } => {
                let operator = of.operator(Some(&by))?;
                if !yes {
                    ask(&format!(
                        "All processes of {} will follow a new term. Has it been looked at what `fleet verify` says? Type yes to go \
                         on: ",
                        of.model
                    ))?;
                }
                repair(out, &operator, reason, from.as_deref())
            }
        }
    }
}

fn changed(out: &mut Out, name: &str, done: bool, now: &str, before: &str) -> Result<(), Failure> {
    if out.json {
        return Ok(out.value(&json!({ name: done }))?);
    }
    Ok(out.line(if done { now } else { before })?)
}

fn rolled_back(out: &mut Out, outcome: RollbackOutcome) -> Result<(), Failure> {
    let is_nothing = outcome == RollbackOutcome::Nothing;
    let (value, told) = match outcome {
        RollbackOutcome::Aborted(versions) => {
            let names = versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            (json!({"aborted": versions}), format!("{names} is taken off; live stays"))
        }
        RollbackOutcome::RolledBack { from, to } => {
            (json!({"from": from, "to": to}), format!("live is {to} again, and was {from}"))
        }
        _ => (
            json!({"nothing": true}),
            String::from(
                "nothing has changed: no candidate is exposed, and no version to go back to is retained",
            ),
        ),
    };
    if out.json {
        out.value(&value)?;
    } else {
        out.line(&told)?;
    }
    if is_nothing { Err(Failure::Said) } else { Ok(()) }
}

/// Asks the store, which takes as long as it takes.
fn asking<T>(work: impl FnOnce() -> T) -> T {
    Progress::of("asking the store", work)
}

fn status(out: &mut Out, seen: &FleetOverview) -> Result<(), Failure> {
    if out.json {
        return Ok(out.value(seen)?);
    }
    let FleetOverview { model, term, sequence, live, by, why, .. } = seen;
    out.line(&format!(
        "{model}  live {live}  at {term}.{sequence} since {} by {by}: {why}",
        Moment(seen.agreed_at)
    ))?;
    if let Some(silent) = seen.silent {
        out.line(&format!(
            "nothing was written for {} s by this machine's clock: ages are as of {}",
            silent.as_secs(),
            Moment(seen.store_now)
        ))?;
    }
    if let Some(why) = seen.contested() {
        out.line(&format!("wrong: {why}"))?;
    }
    if let Some(reason) = &seen.frozen {
        out.line(&format!("frozen: {reason}"))?;
    }
    match (&seen.judge, seen.judged_at) {
        (Some(judge), Some(at)) => out.line(&format!(
            "judged by {judge}, {} times, last {} s ago, at {}; {} were given up",
            seen.merged,
            seen.store_now.since(at).as_secs(),
            Moment(at),
            seen.voids
        ))?,
        _ => out.line("nobody has judged yet")?,
    }
    let mut rows: Vec<_> = seen.rollouts.iter().map(rollout_row).collect();
    for kept in &seen.retained {
        // It is in the time of plans, which is that of no clock.
        let mut row = retained_row(kept);
        row.iter_mut().skip(3).take(1).for_each(|since| "-".clone_into(since));
        rows.push(row);
    }
    if !rows.is_empty() {
        out.line("")?;
        out.table(&ROLLOUTS, rows)?;
    }
    let said = seen.rollouts.iter().flat_map(|rollout| {
        rollout.evidence.iter().map(|evidence| judged(rollout.version.to_string(), evidence))
    });
    let said: Vec<_> = said.collect();
    if !said.is_empty() {
        out.line("")?;
        out.table(&JUDGED, said)?;
    }
    out.line("")?;
    let dash = |text: &str| if text.is_empty() { String::from("-") } else { text.to_owned() };
    let row = |member: &FleetMember| {
        let FleetMember { name, class, build, state, sequence, seen: at, not_ready, .. } = member;
        let ago = format!("{} s ago, at {}", seen.store_now.since(*at).as_secs(), Moment(*at));
        let unready = not_ready.iter().map(|one| format!("{}: {}", one.identity, one.reason));
        let unready = unready.collect::<Vec<_>>().join("; ");
        vec![
            name.clone(),
            dash(class),
            dash(build),
            state.to_string(),
            sequence.to_string(),
            ago,
            dash(&unready),
        ]
    };
    let heads = ["PROCESS", "CLASS", "BUILD", "IS", "AT", "SEEN", "CANNOT RUN"];
    out.table(&heads, seen.members.iter().map(row).collect())?;
    for entry in &seen.quarantined {
        // It is in the time of plans, which stands still while nobody judges.
        let until = entry.until.map(|until| format!(" until {} or later", Moment(until))).unwrap_or_default();
        let Quarantined { identity, version, reason, .. } = entry;
        out.line(&format!("quarantined: {identity} ({version}){until}: {reason}"))?;
    }
    for FleetFault { key, reason, .. } in &seen.unreadable {
        out.line(&format!("{key} cannot be read: {reason}"))?;
    }
    Ok(())
}

fn log(out: &mut Out, operator: &FleetOperator, last: usize) -> Result<(), Failure> {
    let decisions = asking(|| operator.decisions(last))?;
    if out.json {
        return Ok(out.value(&decisions)?);
    }
    for one in decisions {
        let (term, sequence) = (one.term, one.sequence);
        out.line(&format!("{}  {term}.{sequence}  {}  by {}", Moment(one.asked_at), one.why, one.by))?;
    }
    Ok(())
}

/// The number of a head that is not filed, where that was found.
fn hole(finding: &FleetFinding) -> Option<u64> {
    if let FleetFinding::Hole { sequence } = finding { Some(*sequence) } else { None }
}

fn verify(out: &mut Out, operator: &FleetOperator) -> Result<(), Failure> {
    let audit = asking(|| operator.audit())?;
    if out.json {
        out.value(&audit)?;
    } else {
        let mut findings = audit.findings.iter().peekable();
        while let Some(finding) = findings.next() {
            let Some(first) = hole(finding) else {
                out.line(&format!("{}: {finding}", if finding.is_fault() { "wrong" } else { "note" }))?;
                continue;
            };
            // The newest come first, as they are named.
            let mut last = first;
            while let Some(next) = findings.next_if(|next| hole(next).is_some_and(|next| next + 1 == last)) {
                last = hole(next).unwrap_or(last);
            }
            if last == first {
                out.line(&format!("note: {finding}"))?;
            } else {
                out.line(&format!("note: {last} to {first} are not filed: the history has holes there"))?;
            }
        }
        let (filed, rows) = (audit.filed, audit.rows);
        let whole = if audit.is_whole() { "it fits together" } else { "it does not fit together" };
        out.line(&format!("{filed} filed heads and {rows} rows were read: {whole}"))?;
    }
    if audit.is_whole() { Ok(()) } else { Err(Failure::Said) }
}

fn sweep(
    out: &mut Out,
    operator: &FleetOperator,
    older_than: Duration,
    dry_run: bool,
) -> Result<(), Failure> {
    let size = |gone: &[FleetLeftover]| bytes(gone.iter().map(|one| one.bytes).sum());
    if dry_run {
        let left = asking(|| operator.leftovers(older_than))?;
        if out.json {
            return Ok(out.value(&left)?);
        }
        for one in &left {
            out.line(&format!("{}  {}  {}", Moment(one.at), bytes(one.bytes), one.key))?;
        }
        return Ok(out.line(&format!("{} would be removed: {}", left.len(), size(&left)))?);
    }
    let swept = asking(|| operator.sweep(older_than))?;
    if out.json {
        out.value(&swept)?;
    } else {
        for FleetFault { key, reason, .. } in &swept.failed {
            out.line(&format!("{key} is still there: {reason}"))?;
        }
        out.line(&format!("{} removed: {}", swept.removed.len(), size(&swept.removed)))?;
    }
    if swept.failed.is_empty() { Ok(()) } else { Err(Failure::Said) }
}

fn repair(
    out: &mut Out,
    operator: &FleetOperator,
    reason: String,
    from: Option<&str>,
) -> Result<(), Failure> {
    let repaired = asking(|| operator.repair(reason, from))?;
    if out.json {
        return Ok(out.value(&repaired)?);
    }
    let Some(repaired) = repaired else { return Ok(out.line("there is nothing to repair")?) };
    out.line(&format!(
        "term {} begins at {}.{}, from {}: live is {}",
        repaired.term, repaired.term, repaired.sequence, repaired.from, repaired.live
    ))?;
    for version in &repaired.taken_off {
        out.line(&format!("{version} is taken off, since what was counted cannot be trusted: begin again"))?;
    }
    Ok(())
}
