//! The arguments of the bench.

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Order {
    pub(crate) quick: bool,
    /// Compare instructions with the repository's, or write these.
    pub(crate) check: bool,
    pub(crate) update: bool,
    /// Latency of the homeserver in milliseconds.
    pub(crate) delay: Option<String>,
    /// The homeserver refuses some requests.
    pub(crate) errors: bool,
    /// Names of figures, or their beginnings.
    pub(crate) wanted: Vec<String>,
    /// All arguments but those that choose the homeserver.
    pub(crate) rest: Vec<String>,
}

/// Why there is no order.
#[derive(Debug)]
pub(crate) enum Misread {
    /// Help was asked for.
    Help,
    /// A sentence about what is wrong.
    Mistake(String),
}

impl Order {
    /// Reads the arguments; `is_figure` tells which names there are.
    pub(crate) fn read(
        arguments: &[String],
        is_figure: impl Fn(&str) -> bool,
    ) -> Result<Self, Misread> {
        let mut order = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match &**argument {
                "--delay" => {
                    let delay = arguments
                        .next()
                        .filter(|delay| delay.parse::<u32>().is_ok());
                    let delay = delay.ok_or_else(|| mistake("--delay needs milliseconds"))?;
                    order.delay = Some(delay.clone());
                    continue;
                }
                "--errors" => {
                    order.errors = true;
                    continue;
                }
                "--bench" => {}
                "--quick" => order.quick = true,
                "--check" => order.check = true,
                "--update" => order.update = true,
                name if is_figure(name) => order.wanted.push(argument.clone()),
                "--help" | "-h" => return Err(Misread::Help),
                unknown => return Err(mistake(&format!("there is no figure `{unknown}`"))),
            }
            order.rest.push(argument.clone());
        }
        if order.update && !order.check {
            return Err(mistake("--update goes with --check"));
        }
        if order.check && !order.wanted.is_empty() {
            return Err(mistake("--check measures figures of its own"));
        }
        // What runs again behind --delay and --errors does not get them: the first reading refuses them.
        if order.check && (order.quick || order.delay.is_some() || order.errors) {
            return Err(mistake("--check goes with --update alone"));
        }
        Ok(order)
    }
}

fn mistake(sentence: &str) -> Misread {
    Misread::Mistake(sentence.to_owned())
}
