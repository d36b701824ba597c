//! `session profile`: several accounts in one folder.

use serde_json::json;

use crate::args::Profile;
use crate::exit::Result;
use crate::home::Home;
use crate::out::Out;

pub(crate) fn run(home: &Home, out: Out, command: &Profile) -> Result<()> {
    match command {
        Profile::Mode { mode } => {
            if let Some(mode) = mode {
                home.set_mode(*mode)?;
            }
            let mode = home.mode()?;
            out.result(|| mode.to_string(), || json!({ "mode": mode.to_string() }));
        }
        Profile::List => {
            let profiles = home.profiles();
            if profiles.is_empty() {
                out.remark("there are no profiles: 'session profile new NAME' makes one");
            }
            for (name, used) in profiles {
                let mark = if used { "*" } else { " " };
                out.result(
                    || format!("{mark} {name}"),
                    || json!({ "profile": name, "used": used }),
                );
            }
        }
        Profile::New { name } => {
            let dir = home.make_profile(name)?;
            out.result(
                || {
                    format!(
                        "made {}\n'session --profile {name} account new' makes an account in it; \
                         'session profile use {name}' uses it without the flag",
                        dir.display()
                    )
                },
                || json!({ "profile": name, "home": dir }),
            );
        }
        Profile::Use { name } => {
            let name = Some(name.as_str()).filter(|name| *name != "-");
            home.use_profile(name)?;
            out.result(
                || match name {
                    Some(name) => format!("{name} is used from now on"),
                    None => "no profile is used from now on".to_owned(),
                },
                || json!({ "profile": name }),
            );
        }
    }
    Ok(())
}
