//! The verbs, one file each; they share the path of a write in `write`.

mod create;
mod delete;
mod get;
mod list;
mod patch;
mod purge;
mod update;
mod watch;

pub(crate) use self::{
    create::{create, proposal},
    delete::{delete, read_options, remove},
    get::{get, read},
    list::{list, read as list_page},
    patch::{Patch, patch, patched},
    purge::delete_collection,
    update::{replace, update},
    watch::watch,
};
