//! The agent as a process: from a file, following the file, until it is told to end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Variables, lines};
use crate::config::{self, Config, Mistake, Watch};
use crate::drain;

/// How often the configuration is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long attempts and connections may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the agent that the file at `path` describes until `stop`.
///
/// Changes of the file and of the files that it names are picked up, and SIGHUP asks for it; a bad
/// change is logged and counted, and the old configuration goes on.
pub async fn run(
    path: PathBuf,
    variables: Variables,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut watch = Watch::new(path.clone(), LOOK);
    let mut hangup = drain::on_hangup()?;
    let config = config::load(&path, &variables).map_err(|mistakes| named(&path, &mistakes))?;
    watch.follow(config.files().into_iter().collect());
    let mut agent = Agent::start(config, None).await?;
    watch.follow(agent.files().into_iter().collect());
    tracing::info!(
        node = agent.config.identity.node,
        targets = agent.config.targets.len(),
        admin = %agent.admin_addr(),
        responder = ?agent.responder_addrs(),
        "probing"
    );
    if let Some(remark) = agent.config.remark() {
        tracing::warn!("{remark}");
    }
    loop {
        let text = tokio::select! {
            () = stop.cancelled() => break,
            offer = agent.next_plan() => {
                if agent.follow_plan(offer).await {
                    watch.follow(agent.files().into_iter().collect());
                }
                continue;
            }
            changed = watch.changed() => changed,
            _ = hangup.recv() => config::read(&path),
        };
        let parsed = match &text {
            Ok(text) => config::parse(text, &variables),
            Err(error) => Err(vec![Mistake::of_file(error)]),
        };
        reload(&mut agent, &mut watch, &path, parsed).await;
    }
    tracing::info!("ending");
    agent.stop(GRACE).await;
    Ok(())
}

async fn reload(
    agent: &mut Agent,
    watch: &mut Watch,
    path: &Path,
    parsed: Result<Config, Vec<Mistake>>,
) {
    let applied = match parsed {
        Ok(config) => {
            // First, so that no change is lost. If it is refused, a file may mend it, and the old
            // one goes on with its own.
            let files = config.files();
            let old = agent.files();
            watch.follow(files.union(&old).cloned().collect());
            let applied = agent.apply(config).await;
            if applied.is_ok() {
                watch.follow(agent.files().into_iter().collect());
            }
            applied
        }
        Err(mistakes) => Err(mistakes),
    };
    agent.admin.reloaded(applied.is_ok());
    match applied {
        Ok(restart) => {
            tracing::info!(targets = agent.config.targets.len(), "configuration reloaded");
            if !restart.is_empty() {
                tracing::warn!(fields = ?restart, "these change only with a restart");
            }
        }
        Err(mistakes) => {
            let mistakes = named(path, &mistakes);
            tracing::error!(%mistakes, "bad configuration: the old one goes on");
        }
    }
}

fn named(path: &Path, mistakes: &[Mistake]) -> anyhow::Error {
    let file = path.display().to_string();
    lines(mistakes.iter().map(|mistake| mistake.in_file(&file).to_string()))
}
