//! `authorizer` in expressions: who may do what, asked of the authorizer of requests (KEP-3488).
//!
//! An evaluation cannot wait. So a check that has no answer yet is noted as a question and fails; whoever evaluates asks
//! the questions that are open and evaluates again.

use std::sync::Arc;

use kube_cel::cel::{Context, ExecutionError, Value, extractors::This, objects::Opaque};
use parking_lot::Mutex;
use windlass_kernel::{
    Identity,
    access::{Attributes, Decision},
};

/// A question to an authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) identity: Identity,
    pub(crate) attributes: Attributes,
}

/// What was asked in the course of a request, with the answers there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Questions(Arc<Mutex<Vec<Asked>>>);

/// A question, with its answer once there is one.
type Asked = (Question, Option<Answer>);

/// An authorizer's decision, or why it made none.
type Answer = Result<Decision, String>;

impl Questions {
    /// The questions without an answer.
    pub(crate) fn open(&self) -> Vec<Question> {
        self.0.lock().iter().filter(|(_, answer)| answer.is_none()).map(|(question, _)| question.clone()).collect()
    }

    /// Answers a question.
    pub(crate) fn answer(&self, question: &Question, answer: Answer) {
        if let Some(own) = self.0.lock().iter_mut().find(|(own, _)| own == question) {
            own.1 = Some(answer);
        }
    }

    /// The answer there is; notes the question where there is none.
    fn ask(&self, question: Question) -> Option<Answer> {
        let mut all = self.0.lock();
        if let Some((_, answer)) = all.iter().find(|(own, _)| *own == question) {
            return answer.clone();
        }
        all.push((question, None));
        None
    }

    /// The variable `authorizer`: speaks for this identity.
    pub(crate) fn authorizer(&self, identity: &Identity) -> Value {
        Subject { identity: identity.clone(), questions: self.clone(), check: None }.into()
    }

    /// The variable `authorizer.requestResource`: asks about these attributes.
    pub(crate) fn about(&self, identity: &Identity, attributes: Attributes) -> Value {
        Subject { identity: identity.clone(), questions: self.clone(), check: Some(attributes) }.into()
    }
}

/// An authorizer, or a check that is being put together.
#[derive(Clone, Debug)]
struct Subject {
    identity: Identity,
    questions: Questions,
    check: Option<Attributes>,
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity && self.check == other.check
    }
}

impl Eq for Subject {}

impl Opaque for Subject {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Authorizer"
    }
}

impl From<Subject> for Value {
    fn from(subject: Subject) -> Self {
        Self::Opaque(Arc::new(subject))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Decided(Answer);

impl Opaque for Decided {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

type Said<T> = Result<T, ExecutionError>;

/// Adds the functions of authorizers, checks and decisions.
pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("path", |This(this): This<Value>, path: Arc<String>| {
        begun(&this, |check| check.path.clone_from(&path))
    });
    context.add_function("group", |This(this): This<Value>, group: Arc<String>| {
        begun(&this, |check| {
            check.group.clone_from(&group);
            check.version = "*".into();
        })
    });
    context.add_function("resource", |This(this): This<Value>, resource: Arc<String>| {
        with(&this, |check| check.resource.clone_from(&resource))
    });
    context.add_function("subresource", |This(this): This<Value>, subresource: Arc<String>| {
        with(&this, |check| check.subresource.clone_from(&subresource))
    });
    context.add_function("namespace", |This(this): This<Value>, namespace: Arc<String>| {
        with(&this, |check| check.namespace.clone_from(&namespace))
    });
    context.add_function("name", |This(this): This<Value>, name: Arc<String>| {
        with(&this, |check| check.name.clone_from(&name))
    });
    context.add_function("serviceAccount", |This(this): This<Value>, namespace: Arc<String>, name: Arc<String>| {
        account(&this, &namespace, &name)
    });
    context.add_function("check", |This(this): This<Value>, verb: Arc<String>| check(&this, &verb));
    context.add_function("allowed", |This(this): This<Value>| {
        Ok::<_, ExecutionError>(Value::Bool(matches!(&decided(&this)?.0, Ok(Decision::Allow(_)))))
    });
    context.add_function("reason", |This(this): This<Value>| {
        Ok::<_, ExecutionError>(text(match &decided(&this)?.0 {
            Ok(Decision::Allow(why) | Decision::Deny(why) | Decision::NoOpinion(why)) => why.clone(),
            Err(_) => String::new(),
        }))
    });
    context.add_function("errored", |This(this): This<Value>| {
        Ok::<_, ExecutionError>(Value::Bool(decided(&this)?.0.is_err()))
    });
    context.add_function("error", |This(this): This<Value>| {
        Ok::<_, ExecutionError>(text(decided(&this)?.0.as_ref().err().cloned().unwrap_or_default()))
    });
}

fn text(text: String) -> Value {
    Value::String(Arc::new(text))
}

fn subject(value: &Value) -> Said<&Subject> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<Subject>().ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn decided(value: &Value) -> Said<&Decided> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<Decided>().ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

/// A check that an authorizer begins.
fn begun(value: &Value, change: impl FnOnce(&mut Attributes)) -> Said<Value> {
    let own = subject(value)?;
    if own.check.is_some() {
        return Err(ExecutionError::NoSuchOverload);
    }
    let mut check = Attributes::default();
    change(&mut check);
    Ok(Subject { check: Some(check), ..own.clone() }.into())
}

/// A check that says more.
fn with(value: &Value, change: impl FnOnce(&mut Attributes)) -> Said<Value> {
    let own = subject(value)?;
    let mut check = own.check.clone().ok_or(ExecutionError::NoSuchOverload)?;
    change(&mut check);
    Ok(Subject { check: Some(check), ..own.clone() }.into())
}

/// The authorizer of a service account.
fn account(this: &Value, namespace: &str, name: &str) -> Said<Value> {
    let own = subject(this)?;
    let mut identity = Identity::new(&format!("system:serviceaccount:{namespace}:{name}"), &[]);
    identity.groups = vec![
        "system:serviceaccounts".into(),
        format!("system:serviceaccounts:{namespace}"),
        crate::access::AUTHENTICATED.into(),
    ];
    Ok(Subject { identity, check: None, questions: own.questions.clone() }.into())
}

fn check(this: &Value, verb: &str) -> Said<Value> {
    let own = subject(this)?;
    let mut attributes = own.check.clone().ok_or(ExecutionError::NoSuchOverload)?;
    attributes.verb = verb.to_owned();
    let answer = own.questions.ask(Question { identity: own.identity.clone(), attributes });
    let answer = answer.ok_or_else(|| ExecutionError::function_error("check", "the authorizer was not asked yet"))?;
    Ok(Value::Opaque(Arc::new(Decided(answer))))
}
