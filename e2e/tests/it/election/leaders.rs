//! The leader election of newer agents.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use datakit_operator_e2e::caller::Caller;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::replica::WEBHOOK;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

const NAME: &str = "dk-election";
const CAMPAIGN: &str = "";
const HEARTBEAT: &str = "/heartbeat";
/// How long a leader is one that says nothing.
const LEASE: Duration = Duration::from_secs(30);
/// How often agents ask.
const INTERVAL: Duration = Duration::from_secs(1);

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn newer_agents_have_one_leader() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, NAME, &["--lease-duration=2s"]).await?;
    let mut members = installation.start_many(2).await?;
    let [one, two] = [&members[0], &members[1]].map(server);

    // What other features may do is not enough.
    for server in [one, two] {
        until_status(server, 503, "rbac_forbidden").await?;
    }
    let (status, answer) = ask(one, CAMPAIGN, "secret", "east", "a").await?;
    assert_eq!(
        (status, &answer["error_code"]),
        (503, &json!("rbac_forbidden")),
        "{answer}"
    );
    assert_eq!(answer["status"], "error");
    permit(&cluster).await?;
    for server in [one, two] {
        until_status(server, 200, "").await?;
    }
    for (token, id) in [("", "a"), ("secret", ""), ("", "")] {
        let (status, answer) = ask(one, CAMPAIGN, token, "east", id).await?;
        assert_eq!(
            (status, &answer["status"]),
            (400, &json!("error")),
            "{answer}"
        );
    }

    // All at once, through both.
    let mut campaigns = Vec::new();
    for scope in ["east", "west"] {
        for (id, server) in ["a", "b", "c", "d"]
            .into_iter()
            .zip([one, two].into_iter().cycle())
        {
            campaigns.push(tokio::spawn(async move {
                let answer = ask(server, CAMPAIGN, "secret", scope, id).await;
                answer.map(|(status, answer)| (scope, id, status, answer))
            }));
        }
    }
    let mut winners = BTreeMap::new();
    let mut answers = Vec::new();
    for campaign in campaigns {
        let (scope, id, status, answer) = campaign.await??;
        assert_eq!(status, 200, "{answer}");
        if answer["status"] == "success" {
            let other = winners.insert(scope, id);
            assert_eq!(other, None, "two leaders in {scope}");
        }
        answers.push((scope, answer));
    }
    for (scope, answer) in &answers {
        assert_eq!(answer["incumbency_id"], winners[scope], "{answer}");
        assert_eq!(answer["epoch"], 1, "{answer}");
        assert_eq!(
            [&answer["interval"], &answer["lease_duration"]],
            [3, 30],
            "{answer}"
        );
    }
    assert_leases(&cluster, 2).await?;

    // What somebody else writes into a Lease stays, whoever writes it next.
    label_leases(&cluster).await?;
    // By whichever replica: the leader is renewed, others are not, and a campaign never wins
    // against one.
    let (leader, scope) = (winners["east"], "east");
    let loser = if leader == "a" { "b" } else { "a" };
    for server in [one, two] {
        assert_answer(server, HEARTBEAT, scope, leader, ["success", leader], 1).await?;
        assert_answer(server, HEARTBEAT, scope, loser, ["defeat", leader], 1).await?;
        assert_answer(server, CAMPAIGN, scope, leader, ["defeat", leader], 1).await?;
    }

    // The leader in the west dies, and so does the replica that holds the operator's own Lease.
    let dead = winners["west"];
    let renewed = Instant::now();
    assert_answer(two, HEARTBEAT, "west", dead, ["success", dead], 1).await?;
    let holder = installation.until_held_by_other("").await?;
    let at = members
        .iter()
        .position(|member| member.replica.name() == holder);
    members
        .remove(at.context("the holder is no member")?)
        .kill()
        .await?;
    let left = server(&members[0]);
    let won = loop {
        // Without this the east would be without a leader, too.
        assert_answer(left, HEARTBEAT, "east", leader, ["success", leader], 1).await?;
        let (status, answer) = ask(left, CAMPAIGN, "secret", "west", "next").await?;
        assert_eq!(status, 200, "{answer}");
        if answer["status"] == "success" {
            assert_eq!(
                [&answer["incumbency_id"], &answer["epoch"]],
                [&json!("next"), &json!(2)]
            );
            break renewed.elapsed();
        }
        assert_eq!(
            [&answer["incumbency_id"], &answer["epoch"]],
            [&json!(dead), &json!(1)]
        );
        ensure!(renewed.elapsed() < 2 * LEASE, "it leads still: {answer}");
        tokio::time::sleep(INTERVAL).await;
    };
    println!("a dead leader was replaced after {won:.2?}");
    assert!(won >= LEASE, "it led for {won:?} only");
    // The replica may have seen the last heartbeat only when it was asked first.
    assert!(won < LEASE + 5 * INTERVAL, "that took {won:?}");
    assert_answer(left, HEARTBEAT, "west", dead, ["defeat", "next"], 2).await?;
    assert_answer(left, HEARTBEAT, "west", "next", ["success", "next"], 2).await?;
    assert_answer(left, CAMPAIGN, "east", loser, ["defeat", leader], 1).await?;
    assert_labelled(&cluster).await?;

    forbid(&cluster).await?;
    until_status(left, 503, "rbac_forbidden").await?;
    let (status, answer) = ask(left, HEARTBEAT, "secret", "east", leader).await?;
    assert_eq!(
        (status, &answer["error_code"]),
        (503, &json!("rbac_forbidden")),
        "{answer}"
    );
    Ok(())
}

fn server(member: &Member) -> SocketAddr {
    (member.replica.address(), WEBHOOK).into()
}

/// Asks one replica; returns the HTTP status and the content of the answer.
async fn ask(
    server: SocketAddr,
    what: &str,
    token: &str,
    scope: &str,
    id: &str,
) -> Result<(u16, Value)> {
    let path = format!("/v1/dk-election{what}?token={token}&namespace={scope}&id={id}");
    content(server, "POST", path).await
}

async fn content(server: SocketAddr, method: &'static str, path: String) -> Result<(u16, Value)> {
    let asked =
        tokio::task::spawn_blocking(move || Caller::of(server)?.call(method, &path, "", ""));
    let answer = asked.await??;
    let mut body: Value =
        serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    Ok((answer.status, body["content"].take()))
}

async fn assert_answer(
    server: SocketAddr,
    what: &str,
    scope: &str,
    id: &str,
    [status, incumbent]: [&str; 2],
    epoch: u32,
) -> Result<()> {
    let (code, answer) = ask(server, what, "secret", scope, id).await?;
    let found = [
        &answer["status"],
        &answer["incumbency_id"],
        &answer["epoch"],
    ];
    let expected = [&json!(status), &json!(incumbent), &json!(epoch)];
    ensure!(
        (code, found) == (200, expected),
        "{what} of {id} in {scope}: {code} {answer}"
    );
    Ok(())
}

async fn until_status(server: SocketAddr, status: u16, code: &str) -> Result<()> {
    wait::until(&format!("the status {status}"), || async {
        let asked = content(server, "GET", "/v1/dk-election/status".to_owned()).await;
        let (found, content) = asked.map_err(|error| format!("{error:#}"))?;
        let expected = match status {
            200 => content == json!({"status": "ready"}),
            _ => content["status"] == "error" && content["error_code"] == code,
        };
        match found == status && expected {
            true => Ok(()),
            false => Err(format!("{found} {content}")),
        }
    })
    .await
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/dk-election/leases";

async fn leases(cluster: &Cluster) -> Result<Vec<Value>> {
    let path = format!("{LEASES}?labelSelector=election.datakits.io/managed%3Dtrue");
    let leases = cluster.get(&path).await?;
    Ok(leases["items"].as_array().context("no list")?.clone())
}

/// Somebody else writes into them.
async fn label_leases(cluster: &Cluster) -> Result<()> {
    for lease in leases(cluster).await? {
        let name = lease["metadata"]["name"].as_str().context("no name")?;
        let label = json!({"metadata": {"labels": {"team": "a"}}});
        cluster.merge(&format!("{LEASES}/{name}"), &label).await?;
    }
    Ok(())
}

async fn assert_labelled(cluster: &Cluster) -> Result<()> {
    for lease in leases(cluster).await? {
        assert_eq!(lease["metadata"]["labels"]["team"], "a", "{lease}");
        // All of them have been renewed since.
        let managed = lease["metadata"]["managedFields"].to_string();
        assert!(managed.contains("\"datakit-operator\""), "{lease}");
    }
    Ok(())
}

/// There are as many Leases with the label as scopes, and nothing in them tells the token.
async fn assert_leases(cluster: &Cluster, count: usize) -> Result<()> {
    let leases = leases(cluster).await?;
    assert_eq!(leases.len(), count);
    for lease in leases {
        let name = lease["metadata"]["name"].as_str().unwrap_or_default();
        let hash = name.strip_prefix("datakit-election-").unwrap_or_default();
        let hash = hash
            .bytes()
            .filter(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert_eq!(
            (hash.count(), name.len()),
            (64, 64 + "datakit-election-".len()),
            "{name}"
        );
        assert!(!lease.to_string().contains("secret"), "{lease}");
    }
    Ok(())
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/dk-election";

async fn permit(cluster: &Cluster) -> Result<()> {
    let api = "rbac.authorization.k8s.io/v1";
    let role = json!({
        "apiVersion": api, "kind": "Role", "metadata": {"name": "leaders"},
        "rules": [{
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "verbs": ["get", "list", "watch", "create", "update"],
        }],
    });
    let binding = json!({
        "apiVersion": api, "kind": "RoleBinding", "metadata": {"name": "leaders"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leaders"},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAME}],
    });
    cluster.create(&format!("{RBAC}/roles"), &role).await?;
    cluster
        .create(&format!("{RBAC}/rolebindings"), &binding)
        .await?;
    Ok(())
}

async fn forbid(cluster: &Cluster) -> Result<()> {
    let path = format!("{RBAC}/rolebindings/leaders");
    cluster.delete(&path, &Value::Null).await?;
    Ok(())
}
