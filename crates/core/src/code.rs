//! The closed lists of codes by which people name what is told of a review: in metrics, in the log,
//! in JSON, and in the configuration, which may refuse what they stand for.
//!
//! A code is kept from version to version. What it stands for is said by
//! [`Reason`](crate::inject::Reason) and [`Note`](crate::inject::Note).

/// Why a feature was skipped.
pub const REASONS: [&str; 34] = [
    "switched_off",
    "image_not_configured",
    "windows_pod",
    "mirror_pod",
    "host_pid",
    "restart_policy",
    "non_root_pod",
    "reserved_container",
    "reserved_volume",
    "mount_path_taken",
    "optional_reference",
    "reserved_variable",
    "invalid_annotation",
    "pod_security",
    "limit_range",
    "new_namespace",
    "not_allowed_here",
    "version_not_allowed",
    "unverified",
    "pod_too_large",
    "other_feature",
    "other_agent",
    "no_rule",
    "unusable_setting",
    "host_network",
    "port_taken",
    "nothing_configured",
    "told_by_the_pod",
    "would_hide",
    "pod_too_small",
    "managed_nodes",
    "node_permission",
    "process_one",
    "resource_quota",
];

/// What was done differently than asked, or asked in vain.
pub const NOTES: [&str; 28] = [
    "version_ignored",
    "language_ignored",
    "log_path_skipped",
    "not_shared",
    "keeps_job_running",
    "tag_left_out",
    "unknown_key",
    "unknown_annotation",
    "annotation_of_other_version",
    "resources_fitted",
    "switch_unreadable",
    "more",
    "annotation_ignored",
    "collected_for_each",
    "not_mounted",
    "may_hide",
    "qos_kept",
    "qos_changed",
    "nothing_to_collect",
    "datakit_addr",
    "log_pattern",
    "image_of_logfwd",
    "java_options_long",
    "second_agent",
    "defined_below",
    "env_from",
    "ephemeral_storage",
    "misplaced_annotation",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_one_thing() {
        let mut all: Vec<&str> = REASONS.into_iter().chain(NOTES).collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
