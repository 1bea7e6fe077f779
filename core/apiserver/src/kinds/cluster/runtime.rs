//! Runtime classes.

use windlass_api::names;

use crate::kinds::errors::IMMUTABLE;
use crate::kinds::field::{Field, lookup};
use crate::kinds::{BASE, Kind, meta, pod};

pub(in crate::kinds) static RUNTIME: Kind = Kind {
    validate: |new, old, errors| {
        let (handler, overhead, scheduling) =
            (Field::top(new, "handler"), Field::top(new, "overhead"), Field::top(new, "scheduling"));
        for complaint in names::dns_1123_label(handler.text()) {
            errors.invalid_text(&handler, handler.text(), complaint);
        }
        let fixed = overhead.get("podFixed");
        for (name, _) in fixed.entries() {
            pod::resources::container_name(&fixed.key(name), name, errors);
            pod::resources::quantity(&fixed.key(name), name, errors);
        }
        meta::labels(&scheduling.get("nodeSelector"), errors);
        pod::tolerations(&scheduling.get("tolerations"), errors);
        if old.is_some_and(|old| lookup(old, "handler") != handler.value()) {
            errors.invalid(&handler, IMMUTABLE);
        }
    },
    unconditional_update: false,
    ..BASE
};
