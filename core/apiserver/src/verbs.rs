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
    create::{create, insert},
    delete::delete,
    get::get,
    list::list,
    patch::{patch, patched},
    purge::delete_collection,
    update::update,
    watch::watch,
};
