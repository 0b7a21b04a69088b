//! The same probes against a real ztunnel and against the lab's stand-in, row by row, in network
//! namespaces with real capture rules: `ZTUNNEL=/path/to/ztunnel make mesh-netns`, as root.
//!
//! Any release build of ztunnel will do: it gets its certificates from the lab's istiod, and its
//! world from a file. Prints both columns and a line for each difference, and fails if there is
//! one. Without the variable it says that it did not run.

#[cfg(feature = "lab")]
#[path = "mesh_netns/mesh.rs"]
mod mesh;
#[cfg(feature = "lab")]
#[path = "mesh_netns/network.rs"]
mod network;
#[cfg(feature = "lab")]
#[path = "mesh_netns/real.rs"]
mod real;
#[cfg(feature = "lab")]
#[path = "mesh_netns/rows.rs"]
mod rows;
#[cfg(feature = "lab")]
#[path = "mesh_netns/seen.rs"]
mod seen;
#[cfg(feature = "lab")]
#[path = "mesh_netns/standin.rs"]
mod standin;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let said = match std::env::var_os("ZTUNNEL") {
        Some(ztunnel) if !ztunnel.is_empty() => compare(ztunnel.into()),
        _ => Ok("mesh_netns did NOT run: it needs ZTUNNEL=/path/to/ztunnel, and root".to_owned()),
    };
    let (text, code) = match said {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(text) => (text, ExitCode::FAILURE),
    };
    // Who reads this may have gone.
    let _ = writeln!(std::io::stdout(), "{text}");
    code
}

#[cfg(not(feature = "lab"))]
fn compare(_: std::path::PathBuf) -> Result<String, String> {
    Ok("mesh_netns did NOT run: this build is without the feature lab".to_owned())
}

/// Both columns, at the same time, each in a network of its own.
#[cfg(feature = "lab")]
fn compare(ztunnel: std::path::PathBuf) -> Result<String, String> {
    let ztunnel = ztunnel.canonicalize().map_err(|error| format!("ZTUNNEL: {error}"))?;
    let (real, standin) = std::thread::scope(|scope| {
        let real = scope.spawn(|| rows::run(&mut real::Real::up(&ztunnel)));
        let standin = scope.spawn(|| rows::run(&mut standin::StandIn::up()));
        (real.join(), standin.join())
    });
    let real = real.map_err(|_| "the real side could not be measured")?;
    let standin = standin.map_err(|_| "the side of the stand-in could not be measured")?;
    seen::table(&real, &standin)
}
