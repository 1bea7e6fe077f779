#[path = "../tests/it/rim.rs"]
mod rim;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let t = tokio::time::Instant::now();
    let rim = rim::start().await;
    eprintln!("started in {:?} port {}", t.elapsed(), rim.port);
    use base64::{Engine as _, engine::general_purpose::STANDARD as B};
    let c = |s: &str| B.encode(s);
    let kc = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: w\nclusters:\n- name: w\n  cluster: {{server: \"https://127.0.0.1:{}\", certificate-authority-data: {}}}\nusers:\n- name: w\n  user: {{client-certificate-data: {}, client-key-data: {}}}\n- name: alice\n  user: {{token: user-token}}\ncontexts:\n- name: w\n  context: {{cluster: w, user: w}}\n- name: alice\n  context: {{cluster: w, user: alice}}\n",
        rim.port,
        c(&rim.authority.pem().certificate),
        c(&rim.admin.certificate),
        c(&rim.admin.key)
    );
    std::fs::write(std::env::args().nth(1).unwrap(), kc).unwrap();
    std::future::pending::<()>().await;
}
