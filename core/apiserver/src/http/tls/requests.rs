//! Certificate requests (PKCS#10): who they are for, and certificates for them.

use jiff::{Timestamp, tz::TimeZone};
use rcgen::{CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use windlass_kernel::{
    Result,
    error::{Error, ErrorKind},
};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    pem::parse_x509_pem,
    prelude::FromDer,
};

use super::Authority;

/// Who a certificate request is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// The common name.
    pub name: String,
    /// The organizations.
    pub organizations: Vec<String>,
    /// How many names of hosts and addresses it asks for.
    pub hosts: usize,
    /// How many other alternative names it asks for.
    pub others: usize,
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Invalid, "cannot read a certificate request").with_source(error)
}

impl Requested {
    /// Reads a request (PEM) and checks that its key signed it.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it is no request, or somebody else signed it.
    pub fn read(request: &str) -> Result<Self> {
        let (_, pem) = parse_x509_pem(request.as_bytes()).map_err(invalid)?;
        let (_, read) = X509CertificationRequest::from_der(&pem.contents).map_err(invalid)?;
        read.verify_signature().map_err(invalid)?;
        let subject = &read.certification_request_info.subject;
        let mut names = subject.iter_common_name();
        let mut own = Self {
            name: names.next().map(|name| name.as_str().map_err(invalid)).transpose()?.unwrap_or_default().to_owned(),
            ..Self::default()
        };
        for organization in subject.iter_organization() {
            own.organizations.push(organization.as_str().map_err(invalid)?.to_owned());
        }
        for extension in read.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(other) = extension else { continue };
            for name in &other.general_names {
                match name {
                    GeneralName::DNSName(_) | GeneralName::IPAddress(_) => own.hosts += 1,
                    _ => own.others += 1,
                }
            }
        }
        Ok(own)
    }
}

impl Authority {
    /// A certificate (PEM) for a request (PEM), for these usages of the `certificates` API, valid from and until then to
    /// the day.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it is no request; [`NotSupported`](ErrorKind::NotSupported) for an unknown
    /// usage and for several organizations, of which the library would keep one.
    pub fn certify(&self, request: &str, usages: &[String], valid: (Timestamp, Timestamp)) -> Result<String> {
        if Requested::read(request)?.organizations.len() > 1 {
            return Err(Error::new(ErrorKind::NotSupported, "a client certificate names at most one group"));
        }
        let mut wanted = CertificateSigningRequestParams::from_pem(request).map_err(invalid)?;
        restrict(&mut wanted.params, usages)?;
        let time = |time: Timestamp| {
            let date = time.to_zoned(TimeZone::UTC).date();
            rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
        };
        // The library has whole days: what is asked for lies within them.
        let next = valid.1.checked_add(jiff::SignedDuration::from_hours(24)).unwrap_or(valid.1);
        (wanted.params.not_before, wanted.params.not_after) = (time(valid.0), time(next));
        let signed = wanted.signed_by(&self.issuer).map_err(super::cannot("sign a certificate"))?;
        Ok(signed.pem())
    }
}

/// Leaves of what was asked for only the names, and allows these usages.
fn restrict(params: &mut CertificateParams, usages: &[String]) -> Result<()> {
    params.is_ca = IsCa::NoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages.clear();
    params.extended_key_usages.clear();
    for usage in usages {
        match usage.as_str() {
            "digital signature" | "signing" => params.key_usages.push(KeyUsagePurpose::DigitalSignature),
            "key encipherment" => params.key_usages.push(KeyUsagePurpose::KeyEncipherment),
            "client auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth),
            "server auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
            other => {
                let message = format!("cannot sign a certificate for the usage {other:?}");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{DnType, KeyPair};
    use x509_parser::certificate::X509Certificate;

    use super::*;

    #[test]
    fn a_request_is_read_and_gets_a_certificate_of_its_authority() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let authority = Authority::generate("ca", now).unwrap();
        let mut params = CertificateParams::new(vec!["node.example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, "system:node:a");
        let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let read = Requested::read(&request).unwrap();
        let expect =
            Requested { name: "system:node:a".into(), organizations: vec!["system:nodes".into()], hosts: 1, others: 0 };
        assert_eq!(read, expect);

        let until = now.checked_add(jiff::SignedDuration::from_hours(48)).unwrap();
        let pem = authority.certify(&request, &["server auth".into()], (now, until)).unwrap();
        let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
        let (_, ca) = parse_x509_pem(authority.pem().certificate.as_bytes()).unwrap();
        let certificate = X509Certificate::from_der(&pem.contents).unwrap().1;
        let ca = X509Certificate::from_der(&ca.contents).unwrap().1;
        certificate.verify_signature(Some(ca.public_key())).unwrap();
        let ends = certificate.validity().not_after.timestamp();
        assert!(ends >= until.as_second() && ends <= until.as_second() + 86_400);
        let usages = certificate.extended_key_usage().unwrap().unwrap().value.clone();
        assert!(usages.server_auth && !usages.client_auth && !certificate.is_ca());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert!(Requested::read("nonsense").unwrap_err().is(ErrorKind::Invalid));
        let authority = Authority::generate("ca", "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert!(Requested::read(&authority.pem().certificate).unwrap_err().is(ErrorKind::Invalid));
    }
}
