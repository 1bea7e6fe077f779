//! What stands before a write: the plugins, then the policies and webhooks that objects register. All that may change
//! the object come before all that judge it.

use std::{mem, sync::Arc};

use serde_json::Value;
use windlass_kernel::{
    access::Admitting,
    api::{Request, Verb},
    error::Result,
};

use crate::{
    figures::{Step, Who},
    registered::{self, Asked, Operation, Registered, Rounds},
    registry::Served,
    server::ApiServer,
    sub,
};

/// The gate of one write. What is registered is the same from its first question to its last.
pub(crate) struct Gate<'a> {
    server: &'a ApiServer,
    served: &'a Served,
    request: &'a Request,
    registered: Arc<Registered>,
    whom: Whom,
}

/// Who is asked about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Everyone.
    All,
    /// The plugins. What is registered was asked about what caused the write.
    Plugins,
}

impl<'a> Gate<'a> {
    /// The gate that the request has to pass.
    pub(crate) async fn open(
        server: &'a ApiServer,
        served: &'a Served,
        request: &'a Request,
        whom: Whom,
    ) -> Result<Self> {
        let registered = registered::concerning(server, served, request).await?;
        Ok(Self { server, served, request, registered, whom })
    }

    /// Whether somebody looks at who owns which fields.
    pub(crate) fn sees_owners(&self) -> bool {
        let looks = |plugin: &Arc<dyn windlass_kernel::Admission>| {
            plugin.reads_managed_fields() && plugin.handles(self.request)
        };
        self.registered.any().is_some() || self.server.parts.admission.iter().any(looks)
    }

    /// Lets everyone who is interested change the object; says whether anyone was.
    pub(crate) async fn admit(
        &self,
        old: Option<&Value>,
        new: Option<&mut Value>,
        warnings: &mut Vec<String>,
    ) -> Result<bool> {
        let operation = self.operation(old, new.is_some());
        self.server.admitting((Who::Chain, Step::Admit, operation), self.change(old, new, warnings)).await
    }

    async fn change(
        &self,
        old: Option<&Value>,
        mut new: Option<&mut Value>,
        warnings: &mut Vec<String>,
    ) -> Result<bool> {
        let mut any = self.plugins(old, new.as_deref_mut(), warnings).await?;
        #[cfg(feature = "cel")]
        if let (true, Some(policy)) = (self.writes_policy(), new.as_deref_mut()) {
            registered::type_checked(self.server, policy);
        }
        let Some(registered) = self.asks_registered(old, new.as_deref()) else { return Ok(any) };
        any = true;
        let mut rounds = Rounds::default();
        self.round(registered, old, new.as_deref_mut(), &mut rounds, warnings).await?;
        if rounds.changed() {
            let before = new.as_deref().cloned();
            self.plugins(old, new.as_deref_mut(), warnings).await?;
            rounds.again(before.as_ref() != new.as_deref());
            self.round(registered, old, new, &mut rounds, warnings).await?;
        }
        Ok(any)
    }

    async fn plugins(&self, old: Option<&Value>, new: Option<&mut Value>, warnings: &mut Vec<String>) -> Result<bool> {
        let mut admitting = Admitting { request: self.request, old, new, warnings: Vec::new() };
        let operation = self.operation(old, admitting.new.is_some());
        let mut any = false;
        for (at, plugin) in self.handling() {
            any = true;
            let what = (Who::Plugin(at), Step::Admit, operation);
            self.server.admitting(what, plugin.mutate(&mut admitting)).await?;
        }
        warnings.append(&mut admitting.warnings);
        Ok(any)
    }

    async fn round(
        &self,
        registered: &Registered,
        old: Option<&Value>,
        new: Option<&mut Value>,
        rounds: &mut Rounds,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let mut asked = self.asked(old, new.as_deref()).await?;
        registered.mutate(&mut asked, rounds).await?;
        warnings.append(&mut asked.warnings());
        if let (Some(object), Some(changed)) = (new, asked.take()) {
            if self.scales() {
                sub::rescale(self.served, object, &changed);
            } else {
                *object = changed;
            }
        }
        Ok(())
    }

    /// Lets everyone who is interested refuse the request.
    pub(crate) async fn judge(
        &self,
        old: Option<&Value>,
        new: Option<&mut Value>,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let operation = self.operation(old, new.is_some());
        self.server.admitting((Who::Chain, Step::Validate, operation), self.refuse(old, new, warnings)).await
    }

    async fn refuse(&self, old: Option<&Value>, mut new: Option<&mut Value>, warnings: &mut Vec<String>) -> Result<()> {
        let operation = self.operation(old, new.is_some());
        let mut admitting = Admitting { request: self.request, old, new: new.as_deref_mut(), warnings: Vec::new() };
        for (at, plugin) in self.handling() {
            let what = (Who::Plugin(at), Step::Validate, operation);
            self.server.admitting(what, plugin.validate(&mut admitting)).await?;
        }
        warnings.append(&mut admitting.warnings);
        let Some(registered) = self.asks_registered(old, new.as_deref()) else { return Ok(()) };
        let mut asked = self.asked(old, new.as_deref()).await?;
        registered.validate(&mut asked).await?;
        warnings.append(&mut asked.warnings());
        Ok(())
    }

    /// The plugins that want to see the request, with their places.
    fn handling(&self) -> impl Iterator<Item = (usize, &dyn windlass_kernel::Admission)> {
        let all = self.server.parts.admission.iter().map(|plugin| &**plugin).enumerate();
        all.filter(|(_, plugin)| plugin.handles(self.request))
    }

    /// What figures call a change from `old` to something, or to nothing.
    fn operation(&self, old: Option<&Value>, stays: bool) -> Operation {
        match (self.request.verb, old) {
            (Verb::Connect, _) => Operation::Connect,
            (Verb::Create, _) | (_, None) => Operation::Create,
            (_, Some(_)) if stays => Operation::Update,
            (_, Some(_)) => Operation::Delete,
        }
    }

    /// What is registered, where it is to be asked about a change from `old` to `new`.
    fn asks_registered(&self, old: Option<&Value>, new: Option<&Value>) -> Option<&Registered> {
        // What follows from something that was posted (a binding, an eviction) is no request of its own.
        let follows = match self.request.verb {
            Verb::Create => old.is_some(),
            Verb::Delete | Verb::DeleteCollection => new.is_some(),
            Verb::Connect => true,
            _ => false,
        };
        if self.whom == Whom::Plugins || follows { None } else { self.registered.any().map(|own| &**own) }
    }

    /// Whether it is a policy that is written, whose types the same write checks.
    #[cfg(feature = "cel")]
    fn writes_policy(&self) -> bool {
        let served = self.served;
        served.is("admissionregistration.k8s.io", "validatingadmissionpolicies") && self.request.subresource.is_empty()
    }

    fn scales(&self) -> bool {
        self.request.subresource == "scale"
    }

    async fn asked(&self, old: Option<&Value>, new: Option<&Value>) -> Result<Asked<'_>> {
        let shown = |object: Option<&Value>| -> Result<Option<Value>> {
            let scaled = |object: &Value| sub::scale(self.served, object);
            object.map(|object| if self.scales() { scaled(object) } else { Ok(object.clone()) }).transpose()
        };
        let (old, new) = (shown(old)?, shown(new)?);
        Asked::write(self.server, self.served, self.request, old, new).await
    }
}

/// Lets what is registered change or refuse something of a kind of its own that is posted to a sub-resource, or the
/// options of a session.
pub(crate) async fn posted(
    server: &ApiServer,
    served: &Served,
    request: &Request,
    object: &mut Value,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let registered = registered::concerning(server, served, request).await?;
    let Some(registered) = registered.any() else { return Ok(()) };
    let mut asked = Asked::posted(server, served, request, mem::take(object)).await?;
    let mut rounds = Rounds::default();
    registered.mutate(&mut asked, &mut rounds).await?;
    if rounds.changed() {
        rounds.again(false);
        registered.mutate(&mut asked, &mut rounds).await?;
    }
    registered.validate(&mut asked).await?;
    warnings.append(&mut asked.warnings());
    *object = asked.take().unwrap_or_default();
    Ok(())
}
