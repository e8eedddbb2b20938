//! The images that the tests' pods run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::image::Image;
use crate::repository::repository;

/// What keeps the namespaces of a pod.
pub(super) const PAUSE: &str = "e2e.example/pause:1";
/// The image of a shell and its tools.
pub const SHELL: &str = "e2e.example/shell:1";
/// The stand-in for the log sidecar.
pub const LOGFWD: &str = "e2e.example/logfwd:1";
/// The stand-in for flameshot.
pub const FLAMESHOT: &str = "e2e.example/flameshot:1";
/// A user that is not root.
const NOBODY: &str = "10000";

/// What images can be made from: `e2e/node/contents.sh` fetches it.
#[derive(Clone, Debug)]
pub struct Contents(PathBuf);

impl Contents {
    pub(super) fn new() -> Result<Self> {
        let folder = std::env::var_os("E2E_NODE_CONTENTS");
        let folder = folder.context("E2E_NODE_CONTENTS is not set; `e2e/run node::` sets it")?;
        Ok(Self(PathBuf::from(folder)))
    }

    /// The path of a part.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn pause(&self) -> Image {
        // As the public one it takes leave of its children, and ends when it is told to.
        let script = "trap 'exit 0' TERM INT; while :; do sleep 1000000 & wait $!; done";
        self.shell_as(PAUSE)
            .with("Entrypoint", json!(["/bin/sh", "-c", script]))
    }

    /// A shell and its tools.
    #[must_use]
    pub fn shell(&self) -> Image {
        self.shell_as(SHELL)
    }

    fn shell_as(&self, reference: &str) -> Image {
        let busybox = std::fs::read(self.part("busybox")).unwrap_or_default();
        let mut image = Image::new(reference)
            .with("Env", json!(["PATH=/bin"]))
            .file("/bin/busybox", 0o755, busybox)
            .directory("/tmp", 0o1777)
            .file(
                "/etc/passwd",
                0o644,
                "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
            );
        for tool in [
            "awk", "basename", "cat", "chmod", "cp", "cut", "date", "echo", "env", "false", "grep",
            "head", "hostname", "id", "kill", "ls", "mkdir", "mv", "nc", "ps", "rm", "sed", "seq",
            "sh", "sleep", "sort", "stat", "tail", "test", "tr", "true", "touch", "wc", "wget",
        ] {
            image = image.link(&format!("/bin/{tool}"), "busybox");
        }
        image
    }

    /// A stand-in for the image that brings a tracing library: it copies all that it has when it is
    /// told where to, by a script in the directory it starts in, and is not root.
    pub fn library(&self, language: &str) -> Result<Image> {
        let script = "#!/bin/sh\nexec cp -r lib/. \"$1/\"\n";
        let mut image = self
            .shell_as(&library_reference(language))
            .with("WorkingDir", "/datadog-init")
            .with("User", NOBODY)
            .file("/datadog-init/copy-lib.sh", 0o755, script)
            .copy(&self.part(&format!("lib/{language}")), "/datadog-init/lib")?;
        if language == "python" {
            // What Python runs of itself wherever its path leads to it.
            let start = "import ddtrace.auto  # noqa: F401\n";
            image = image.file("/datadog-init/lib/sitecustomize.py", 0o644, start);
        }
        Ok(image)
    }

    /// A stand-in for the image that brings OpenTelemetry's library: its files at the documented
    /// places, and the tools that copy them.
    pub fn otel_library(&self, language: &str) -> Result<Image> {
        let image = self.shell_as(&otel_reference(language));
        let files = self.part(&format!("otel/{language}"));
        match language {
            "java" => image.copy(&files.join("opentelemetry-javaagent.jar"), "/javaagent.jar"),
            "js" => {
                let start = "require('@opentelemetry/auto-instrumentations-node/register');\n";
                Ok(image.copy(&files, "/autoinstrumentation")?.file(
                    "/autoinstrumentation/autoinstrumentation.js",
                    0o644,
                    start,
                ))
            }
            _ => image.copy(&files, "/autoinstrumentation"),
        }
    }

    /// A stand-in for the image that brings ddtrace for PHP: settings that PHP reads where it is
    /// told to look, one for each C library.
    #[must_use]
    pub fn php_library(&self) -> Image {
        let script = "#!/bin/sh\nexec cp -r lib/. \"$1/\"\n";
        let mut image = self
            .shell_as(&library_reference("php"))
            .with("WorkingDir", "/datadog-init")
            .with("User", NOBODY)
            .file("/datadog-init/copy-lib.sh", 0o755, script);
        for flavour in ["linux-gnu", "linux-musl"] {
            let settings = format!("stand_in.loaded = {flavour}\n");
            let path = format!("/datadog-init/lib/{flavour}/loader/dd_library_loader.ini");
            image = image.file(&path, 0o644, settings);
        }
        image
    }

    /// A stand-in for flameshot: it says what it is to watch and which processes it sees, leaves a
    /// profile, and answers at its port.
    #[must_use]
    pub fn flameshot(&self) -> Image {
        let script = r#"#!/bin/sh
echo "watches $FLAMESHOT_PROCESSES"
echo profile >"$FLAMESHOT_PROFILING_PATH/of-it"
(while :; do printf 'HTTP/1.0 200 OK\r\n\r\nmetrics' | nc -l -p "$FLAMESHOT_HTTP_LOCAL_PORT"; done) &
while :; do
	for process in /proc/[0-9]*; do echo "sees $(tr '\0' ' ' <"$process/cmdline")"; done 2>/dev/null
	sleep 1
done
"#;
        self.shell_as(FLAMESHOT)
            .file("/flameshot/flameshot", 0o755, script)
    }

    /// The stand-in for the log sidecar, which this program is.
    pub fn logfwd(&self, program: &Path) -> Result<Image> {
        Ok(self
            .shell_as(LOGFWD)
            .program(program, "/usr/local/bin/logfwd")?
            .with("Entrypoint", json!(["/usr/local/bin/logfwd"])))
    }

    /// A stand-in for the image of Python's profiler: its script, which is found by the path,
    /// samples each Python program that it sees and prints what was found.
    pub fn python_profiler(&self) -> Result<Image> {
        let script = r#"
for process in /proc/[0-9]*; do
	[[ $(<"$process/comm") == python3 ]] || continue
	py-spy record --pid "${process#/proc/}" --duration 3 --format raw --output profile
	while read -r line; do echo "sample $line"; done <profile
done
echo done
while sleep 1000000; do :; done
"#;
        let image = self.profiler("python", script)?;
        image.copy(&self.part("py-spy/bin/py-spy"), "/usr/local/bin/py-spy")
    }

    /// The same for Java: the tool makes the JVM load its library, and that writes the profile.
    pub fn java_profiler(&self) -> Result<Image> {
        let script = r#"
cp /opt/libasyncProfiler.so .
for process in /proc/[0-9]*; do
	[[ $(<"$process/comm") == java ]] || continue
	# A JVM that has only just started can't be attached to.
	until asprof -d 3 -e itimer -i 1ms -o collapsed -f "$PWD/profile" --libpath "$PWD/libasyncProfiler.so" "${process#/proc/}"; do sleep 1; done
	while read -r line; do echo "sample $line"; done <profile
done
echo done
while sleep 1000000; do :; done
"#;
        let mut image = self.profiler("java", script)?;
        let libraries = self.part("async-profiler/libs");
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "linux-arm64",
            _ => "linux-x64",
        };
        // Their names have the version.
        for entry in std::fs::read_dir(libraries)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.contains(architecture) && name.starts_with("asprof") {
                let program = std::fs::read(&path)?;
                image = image.file("/usr/local/bin/asprof", 0o755, program);
            } else if name.contains(architecture) && name.starts_with("libasyncProfiler") {
                let library = std::fs::read(&path)?;
                image = image.file("/opt/libasyncProfiler.so", 0o755, library);
            }
        }
        Ok(image)
    }

    fn profiler(&self, language: &str, script: &str) -> Result<Image> {
        let image = Image::new(&profiler_reference(language)).copy(&self.part("bash"), "/")?;
        let image = image.copy(&self.part("busybox"), "/usr/local/bin/busybox")?;
        Ok(image
            .link("/usr/local/bin/cp", "busybox")
            .link("/usr/local/bin/sleep", "busybox")
            .with("Env", json!(["PATH=/usr/local/bin:/usr/bin:/bin"]))
            .directory("/tmp", 0o1777)
            .file("/usr/local/bin/cmd.sh", 0o755, script))
    }

    /// A Java program, and a root with what it needs.
    pub fn java(&self) -> Result<Image> {
        let command = [
            "/jre/bin/java",
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            "/app",
            "App",
        ];
        Ok(Image::new(&app_reference("java"))
            .copy(&self.part("base"), "/")?
            .copy(&self.part("java/jre"), "/jre")?
            .copy(&self.part("java/classes"), "/app")?
            .directory("/tmp", 0o1777)
            .with("Entrypoint", json!(command))
            .with("User", NOBODY))
    }

    /// A Node.js program, and a root with what it needs.
    pub fn js(&self) -> Result<Image> {
        self.script("js", "nodejs", &["/usr/bin/node", "/app/app.js"])
    }

    /// A Python program, and a root with what it needs.
    pub fn python(&self) -> Result<Image> {
        self.script("python", "python", &["/usr/bin/python3", "/app/app.py"])
    }

    /// A PHP program, and a root with what it needs.
    pub fn php(&self) -> Result<Image> {
        let version = std::fs::read_dir(self.part("php/usr/bin"))?.find_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let version = name
                .strip_prefix("php")?
                .starts_with(|c: char| c.is_ascii_digit());
            version.then(|| format!("/usr/bin/{name}"))
        });
        let program = version.context("no PHP in the root")?;
        self.script("php", "php", &[&program, "/app/app.php"])
    }

    fn script(&self, language: &str, root: &str, command: &[&str]) -> Result<Image> {
        let program = command.last().copied().unwrap_or_default();
        let name = Path::new(program).file_name().unwrap_or_default();
        let source = repository().join("e2e/node/apps").join(name);
        Ok(Image::new(&app_reference(language))
            .copy(&self.part(root), "/")?
            .copy(&source, program)?
            .directory("/tmp", 0o1777)
            .with("Entrypoint", json!(command))
            .with("User", NOBODY))
    }
}

/// The name of a program's image.
#[must_use]
pub fn app_reference(language: &str) -> String {
    format!("e2e.example/app-{language}:1")
}

/// The name of a tracing library's image.
#[must_use]
pub fn library_reference(language: &str) -> String {
    format!("e2e.example/dd-lib-{language}-init:1")
}

/// The name of the image of OpenTelemetry's library.
#[must_use]
pub fn otel_reference(language: &str) -> String {
    format!("e2e.example/otel-{language}:1")
}

/// The name of a profiler's image.
#[must_use]
pub fn profiler_reference(language: &str) -> String {
    format!("e2e.example/profiler-{language}:1")
}
