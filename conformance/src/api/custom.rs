//! Custom resources: definitions, what they serve, schemas, versions, sub-resources.

pub(super) mod definition;
mod schemas;

use futures::FutureExt;

use super::Check;

const AREA: &str = "custom";
const PAGE: &str = "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/";

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        AREA,
        "a_definition_is_established_and_served",
        "Conformance: Custom Resource Definition, create",
        |w| definition::served(w).boxed(),
    ),
    Check::new(
        AREA,
        "definitions_are_listed_watched_and_deleted_together",
        "Conformance: Custom Resource Definition, list; Custom Resource Definition, watch",
        |w| definition::listed(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_definition_is_discovered_and_described",
        "Conformance: Aggregated Discovery Interface CRDs; Custom Resource OpenAPI Publish, with validation schema",
        |w| definition::discovered(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_definitions_status_is_apart",
        "Conformance: Custom Resource Definition, status sub-resource",
        |w| definition::status(w).boxed(),
    ),
    Check::new(AREA, "a_definition_is_validated", PAGE, |w| definition::validated(w).boxed()),
    Check::new(
        AREA,
        "objects_of_a_definition_go_with_it",
        "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#delete-a-customresourcedefinition",
        |w| definition::deleted(w).boxed(),
    ),
    Check::new(
        AREA,
        "defaults_are_filled_and_unknown_fields_pruned",
        "Conformance: Custom Resource Definition, defaulting",
        |w| schemas::defaults(w).boxed(),
    ),
    Check::new(AREA, "objects_are_validated_by_schema_and_rules", PAGE, |w| schemas::validated(w).boxed()),
    Check::new(
        AREA,
        "fields_of_custom_objects_are_validated_as_asked",
        "Conformance: Server side field validation, unknown fields CR fails validation; CR duplicates",
        |w| schemas::strict(w).boxed(),
    ),
    Check::new(
        AREA,
        "status_and_scale_are_sub_resources",
        "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#subresources",
        |w| schemas::subresources(w).boxed(),
    ),
    Check::new(
        AREA,
        "custom_objects_are_selected_by_their_fields",
        "Conformance: custom-resource-definition-field-selectors-list-watch-register-informers",
        |w| schemas::selectable(w).boxed(),
    ),
    Check::new(
        AREA,
        "custom_objects_are_shown_patched_and_applied",
        "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns",
        |w| schemas::shown(w).boxed(),
    ),
    Check::new(
        AREA,
        "one_object_is_served_in_every_version",
        "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/",
        |w| schemas::versions(w).boxed(),
    ),
];
