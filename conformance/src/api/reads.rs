//! Reads: pages, resource versions, field selectors, and the shapes that answers take.

mod pages;
mod selectors;
mod shapes;
mod versions;

use futures::FutureExt;

pub(super) use self::shapes::{PARTIAL, TABLE};
use super::Check;

const AREA: &str = "reads";
const CHUNKS: &str = "Conformance: API Chunking, server should return chunks of results for list calls";
const VERSIONS: &str = "https://kubernetes.io/docs/reference/using-api/api-concepts/#resourceversion-in-list";
const TABLES: &str = "https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "pages_show_one_state_and_say_how_much_follows", CHUNKS, |w| pages::state(w).boxed()),
    Check::new(AREA, "a_page_by_selector_does_not_count_what_follows", CHUNKS, |w| pages::selected(w).boxed()),
    Check::new(AREA, "pages_under_concurrent_writes_hold_what_was_there", CHUNKS, |w| pages::busy(w).boxed()),
    Check::new(AREA, "a_token_is_only_good_for_going_on", CHUNKS, |w| pages::tokens(w).boxed()),
    Check::new(
        AREA,
        "an_expired_token_is_exchanged_for_an_inconsistent_one",
        "Conformance: API Chunking, server should support continue listing from the last key",
        |w| pages::expired(w).boxed(),
    )
    .slow(),
    Check::new(AREA, "a_list_is_as_fresh_as_asked", VERSIONS, |w| versions::fresh(w).boxed()),
    Check::new(AREA, "a_list_of_an_exact_version_shows_the_past", VERSIONS, |w| versions::exact(w).boxed()),
    Check::new(AREA, "versions_that_make_no_sense_together_are_refused", VERSIONS, |w| versions::illegal(w).boxed()),
    Check::new(
        AREA,
        "a_version_of_the_future_is_too_large",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#unrecognized-resource-versions",
        |w| versions::future(w).boxed(),
    ),
    Check::new(
        AREA,
        "fields_that_a_kind_is_selected_by_select",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#list-of-supported-fields",
        |w| selectors::fields(w).boxed(),
    ),
    Check::new(
        AREA,
        "fields_that_no_kind_is_selected_by_are_refused",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#supported-fields",
        |w| selectors::unknown(w).boxed(),
    ),
    Check::new(
        AREA,
        "labels_select_by_equality_and_by_sets",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
        |w| selectors::labels(w).boxed(),
    ),
    Check::new(AREA, "a_table_has_columns_and_rows", TABLES, |w| shapes::tables(w).boxed()),
    Check::new(AREA, "what_cannot_be_a_table_is_not_acceptable", "Conformance: API metadata HTTP return", |w| {
        shapes::unacceptable(w).boxed()
    }),
    Check::new(
        AREA,
        "metadata_alone_is_answered_where_it_is_asked_for",
        "KEP-2334; https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches",
        |w| shapes::metadata(w).boxed(),
    ),
    Check::new(
        AREA,
        "an_answer_comes_in_the_encoding_that_is_asked_for",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources",
        |w| shapes::encodings(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_long_answer_is_compressed_for_who_understands_it",
        "KEP-156; RFC 9110, 8.4: Content-Encoding",
        |w| shapes::compressed(w).boxed(),
    ),
];
