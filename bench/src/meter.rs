//! What the operating system says a process used: CPU time and memory.

use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, getpid, sysconf};

use crate::Failed;

/// Whose accounts are read.
pub struct Meter {
    pub servers: Vec<Pid>,
    /// The first process of a PostgreSQL on this machine.
    pub postmaster: Option<Pid>,
}

/// The accounts at one moment. All times are CPU times since the begin of each process.
#[derive(Clone, Copy)]
pub struct Reading {
    at: Instant,
    servers: Duration,
    database: Option<Duration>,
    driver: Duration,
    machine: Duration,
}

/// What was used between two readings.
#[derive(Clone, Copy)]
pub struct Used {
    pub wall: Duration,
    pub servers: Duration,
    pub database: Option<Duration>,
    pub driver: Duration,
    /// What the machine did besides.
    pub foreign: Duration,
}

impl Meter {
    pub fn read(&self) -> Result<Reading, Failed> {
        let servers = self
            .servers
            .iter()
            .map(|pid| cpu_time(*pid))
            .sum::<Result<Duration, Failed>>()?;
        Ok(Reading {
            at: Instant::now(),
            servers,
            database: self.postmaster.map(cpu_time_of_family).transpose()?,
            driver: cpu_time(getpid())?,
            machine: cpu_time_of_machine()?,
        })
    }

    /// The memory of all servers in bytes.
    pub fn memory(&self) -> Result<u64, Failed> {
        self.servers.iter().map(|pid| memory(*pid)).sum()
    }
}

impl Reading {
    pub fn until(&self, later: &Self) -> Used {
        let servers = later.servers.saturating_sub(self.servers);
        let driver = later.driver.saturating_sub(self.driver);
        let database = later
            .database
            .zip(self.database)
            .map(|(later, earlier)| later.saturating_sub(earlier));
        let ours = servers + driver + database.unwrap_or_default();
        Used {
            wall: later.at - self.at,
            servers,
            database,
            driver,
            foreign: (later.machine.saturating_sub(self.machine)).saturating_sub(ours),
        }
    }
}

/// The CPU time of a process and its threads, also of those that have ended: its clock of CPU time, to the nanosecond.
fn cpu_time(pid: Pid) -> Result<Duration, Failed> {
    let time: TimeSpec = clock_gettime(clock_getcpuclockid(pid)?)?;
    Ok(time.into())
}

/// The CPU time of a process, of its children, and of those children that have ended.
fn cpu_time_of_family(parent: Pid) -> Result<Duration, Failed> {
    let (_, ended) = stat(parent)?;
    let mut total = cpu_time(parent)? + ended;
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        // A process may end while we look; then it is among those that have ended at the next reading.
        if let Ok((its_parent, _)) = stat(pid)
            && its_parent == parent
            && let Ok(time) = cpu_time(pid)
        {
            total += time;
        }
    }
    Ok(total)
}

/// Who started a process, and the CPU time of its children that have ended (proc_pid_stat(5), fields 4, 16 and 17).
fn stat(pid: Pid) -> Result<(Pid, Duration), Failed> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in field 2 may hold anything but ends with the last parenthesis.
    let (_, rest) = text.rsplit_once(')').ok_or("a stat without a name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).ok_or("a stat that is too short");
    let ticks = field(16)?.parse::<u64>()? + field(17)?.parse::<u64>()?;
    Ok((Pid::from_raw(field(4)?.parse()?), of_ticks(ticks)?))
}

/// What all processors did since the machine began, idling and waiting left out (proc_stat(5)).
fn cpu_time_of_machine() -> Result<Duration, Failed> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().ok_or("an empty /proc/stat")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // user, nice, system, (idle, iowait,) irq, softirq, steal.
    let busy = [0, 1, 2, 5, 6, 7];
    of_ticks(busy.iter().filter_map(|at| ticks.get(*at)).sum())
}

fn of_ticks(ticks: u64) -> Result<Duration, Failed> {
    let a_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("the system has no ticks")?;
    Ok(Duration::from_secs_f64(ticks as f64 / a_second as f64))
}

/// Memory of a process in bytes, what it shares with others counted by its share (PSS).
pub fn memory(pid: Pid) -> Result<u64, Failed> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .ok_or("no Pss")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
