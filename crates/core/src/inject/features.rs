//! One room a feature: nothing outside a room knows how its feature works, and nothing outside this
//! table which there are.

mod ddtrace;
mod flameshot;
mod library;
mod log_paths;
mod logfwd;
mod logging;
mod observer;
mod otel;
mod process_one;
mod profiler;

use crate::config::Feature;
use crate::pod::{Container, Pod};

use super::spec::{ContainerPlace, Spec};

/// Every feature, in the order in which they run.
pub static SPECS: [Spec; Feature::ALL.len()] = [
    ddtrace::SPEC,
    otel::SPEC,
    logfwd::SPEC,
    flameshot::SPEC,
    profiler::SPEC,
    logging::SPEC,
];

/// Names of the sidecars that are added. Other features treat them as ours.
const SIDECARS: [&str; sidecars()] = {
    let mut names = [""; sidecars()];
    let (mut at, mut feature) = (0, 0);
    while feature < SPECS.len() {
        if is_sidecar(&SPECS[feature]) {
            names[at] = SPECS[feature].marks.container;
            at += 1;
        }
        feature += 1;
    }
    names
};

/// The pod's containers that aren't sidecars of the operator, and where each stands.
pub(crate) fn application<'p, 'a>(
    pod: &'p Pod<'a>,
) -> impl Iterator<Item = (usize, &'p Container<'a>)> + use<'p, 'a> {
    let containers = pod.containers.iter().enumerate();
    containers.filter(|(_, container)| !SIDECARS.contains(&container.name.as_ref()))
}

const fn is_sidecar(spec: &Spec) -> bool {
    !matches!(
        spec.marks.place,
        ContainerPlace::Init | ContainerPlace::Nowhere
    )
}

const fn sidecars() -> usize {
    let (mut count, mut feature) = (0, 0);
    while feature < SPECS.len() {
        count += is_sidecar(&SPECS[feature]) as usize;
        feature += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::START_UP_VARIABLES;
    use crate::inject::spec::Trace;

    #[test]
    fn the_table_has_every_feature_in_its_order() {
        assert_eq!(SPECS.each_ref().map(|spec| spec.feature), Feature::ALL);
    }

    #[test]
    fn sidecars_of_all_features_are_known() {
        for spec in &SPECS {
            assert_eq!(SIDECARS.contains(&spec.marks.container), is_sidecar(spec));
        }
    }

    #[test]
    fn the_configuration_knows_every_start_up_variable() {
        let mut variables: Vec<&str> = SPECS
            .iter()
            .flat_map(|spec| spec.asks)
            .filter_map(|ask| match &ask.trace {
                Trace::StartUp(start_up) => Some(start_up.variable),
                _ => None,
            })
            .collect();
        variables.sort_unstable();
        variables.dedup();
        let mut known = START_UP_VARIABLES;
        known.sort_unstable();
        assert_eq!(variables, known);
    }

    #[test]
    fn names_are_not_used_twice() {
        let mut names: Vec<&str> = SPECS
            .iter()
            .flat_map(|spec| {
                spec.annotations()
                    .chain([spec.switch, spec.marks.container])
            })
            .collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
