"""Servers whose packages exclude Postfix's: unpacked, not installed."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess

import peers
from relay import free_port, wait_for_port


class EximFiles:
    """Unpacked, not installed: its package excludes Postfix's. Nothing runs yet."""

    def __init__(self, folder, files, hostname, options, routers, transports, sections="", retry="1m"):
        """`files`: where it was unpacked."""
        self.folder, self.program = pathlib.Path(folder), pathlib.Path(files) / "usr/sbin/exim4"
        subprocess.run(["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", "Debian-exim"],
                       capture_output=True, check=False)
        owner = pwd.getpwnam("Debian-exim")
        for name in ("", "spool", "log", "mail"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        self.config = self.folder / "exim.conf"
        self.config.write_text(f"""
exim_path = {self.program}
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
pid_file_path = {self.folder}/log/exim.pid
primary_hostname = {hostname}
disable_ipv6
host_lookup =
{options}

begin routers
{routers}
begin transports
{transports}
begin retry
* * F,1h,{retry}
{sections}
""")


class Exim(EximFiles):
    """A server, with its queue."""

    def __init__(self, folder, files, routers, transports, options="", sections="", queue="1m"):
        """`queue`: between two runs of the queue, and between attempts."""
        self.port = free_port()
        super().__init__(folder, files, "exim.example.test", f"""\
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
rfc1413_query_timeout = 0s
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept
{options}""", routers, transports, sections, queue)
        self.log = open(self.folder / "out", "wb")
        self.process = subprocess.Popen([str(self.program), "-C", str(self.config), "-bdf", f"-q{queue}"], stdout=self.log, stderr=self.log,
                                        start_new_session=True)
        wait_for_port(self.port, self.process)

    def wait(self, marker):
        return peers.wait_for_file(self.folder / "mail", marker)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


class Sendmail:
    """Unpacked, not installed: its package excludes Postfix's. Its configuration is made with m4 from the package's."""

    def __init__(self, folder, files, ports, login=None):
        """`ports`: where mail for each domain goes. `login`: with what it logs in there, over STARTTLS."""
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        root = pathlib.Path(files)
        (self.folder / "queue").mkdir(parents=True, exist_ok=True)
        (self.folder / "services").write_text("hosts files\n")
        options = ""
        if login:
            secrets = self.folder / "authinfo"
            line = 'AuthInfo:\t"U:{0}" "I:{0}" "P:{1}" "M:PLAIN"\n'.format(*login)
            subprocess.run([root / "usr/libexec/sendmail/makemap", "-C", "/dev/null", "hash", secrets], input=line, text=True, check=True)
            options = f"define(`confDONT_BLAME_SENDMAIL', `MapInUnsafeDirPath')dnl\nFEATURE(`authinfo', `hash {secrets}')dnl"
        # A route and a port for each domain.
        mailer = "M{}, P=[IPC], F=mDFMuXa8k, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=2048, " \
                 "T=DNS/RFC822/SMTP, A=TCP $h {}"
        rule = "R$* < @ {} $* > $*\t\t$#{} $@ [127.0.0.1] $: $1 < @ {} > $3"
        numbered = list(enumerate(ports.items()))
        mailers = "\n".join(mailer.format(f"hop{number}", port) for number, (_, port) in numbered)
        rules = "\n".join(rule.format(domain, f"hop{number}", domain) for number, (domain, _) in numbered)
        (self.folder / "sendmail.mc").write_text(f"""divert(-1)
include(`{root}/usr/share/sendmail/cf/m4/cf.m4')
divert(0)dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `sendmail.example.test')dnl
define(`confSERVICE_SWITCH_FILE', `{self.folder}/services')dnl
define(`QUEUE_DIR', `{self.folder}/queue')dnl
define(`ALIAS_FILE', `')dnl
define(`STATUS_FILE', `')dnl
define(`HELP_FILE', `')dnl
define(`confPID_FILE', `{self.folder}/pid')dnl
define(`confTO_IDENT', `0')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`accept_unqualified_senders')dnl
DAEMON_OPTIONS(`Family=inet, Addr=127.0.0.1, Port={self.port}, Name=MTA')dnl
{options}
MAILER(`smtp')dnl
MAILER_DEFINITIONS
{mailers}
LOCAL_RULE_0
{rules}
""")
        config = self.folder / "sendmail.cf"
        with open(config, "wb") as made:
            subprocess.run(["m4", "-D", f"_CF_DIR_={root}/usr/share/sendmail/cf/", str(self.folder / "sendmail.mc")],
                           stdout=made, check=True)
        self.log = open(self.folder / "out", "wb")
        program = root / "usr/libexec/sendmail/sendmail"
        # On a host without a full name it waits a minute for one before it reads its configuration.
        self.process = subprocess.Popen(
            ["unshare", "--uts", "sh", "-c", f"hostname sendmail.example.test; exec {program} -C {config} -bD -q5s"],
            stdout=self.log, stderr=self.log, start_new_session=True)
        wait_for_port(self.port, self.process)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)
        self.log.close()


class Courier:
    """Unpacked, not installed: its package excludes Postfix's. Its paths are fixed, so it runs where they are laid over
    those of the machine."""

    def __init__(self, folder, files, port, login=None):
        """`port`: where all mail goes. `login`: with what it logs in there, over STARTTLS."""
        self.folder, files = pathlib.Path(folder), pathlib.Path(files)
        self.port = free_port()
        subprocess.run(["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", "courier"], capture_output=True, check=False)
        owner = pwd.getpwnam("courier")
        etc, usr, var = self.folder / "etc/courier", self.folder / "usr/lib/courier/courier", self.folder / "var"
        shutil.copytree(files / "etc/courier", etc)
        # Without a filter nothing is to be asked before a message is taken.
        (etc / "enablefiltering").unlink()
        for name in ("allfilters", "filters", "msgq", "msgs", "sts", "tmp/broken", "track"):
            (var / name).mkdir(parents=True)
        usr.mkdir(parents=True)
        shutil.copy(files / "usr/lib/courier/courier/submitmkdir", usr)
        (self.folder / "varlib/courier").mkdir(parents=True)
        for path in (usr / "submitmkdir", etc, *etc.rglob("*"), var, *var.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        (usr / "submitmkdir").chmod(0o4755)
        for name, text in (("me", "courier.example.test"), ("locals", "localhost"), ("defaultdomain", "courier.example.test"),
                           ("dsnfrom", "MAILER-DAEMON"), ("esmtproutes", f":[127.0.0.1],{port}"),
                           ("esmtpauthclient", f"[127.0.0.1],{port} {' '.join(login)}" if login else "")):
            (etc / name).write_text(f"{text}\n")
        # No secret may be seen by others.
        (etc / "esmtpauthclient").chmod(0o600)
        with open(etc / "esmtpd", "a") as more:
            # Otherwise it adds what is not there of MIME, and writes such messages anew.
            more.write(f'MIME=none\nBOFHCHECKDNS=0\nTARPIT=0\nNOADDRREWRITE=1\nADDRESS=127.0.0.1\nPORT={self.port}\nACCESSFILE=""\nRELAYCLIENT=""\nULIMIT=unlimited\n')
        script = self.folder / "start"
        overlays = "".join(f"mount -t overlay overlay -o ro,lowerdir={lower}:{at} {at}\n" for at, lower in (
            ("/usr", f"{self.folder}/usr:{files}/usr"), ("/etc", f"{self.folder}/etc"), ("/var/lib", f"{self.folder}/varlib")))
        script.write_text(f"""set -e
{overlays}mount --bind {var} /var/lib/courier
mount -t tmpfs tmpfs /run
mkdir /run/courier
/usr/lib/courier/courierctl.start
/usr/lib/courier/esmtpd start &
exec sleep infinity
""")
        self.log = open(self.folder / "out", "wb")
        self.process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", str(script)],
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        try:
            wait_for_port(self.port, self.process)
        except RuntimeError:
            self.stop()
            raise

    def stop(self):
        # `unshare` leaves SIGTERM to its child. What runs in the namespace dies with it.
        self.process.kill()
        self.process.wait(20)
        self.log.close()
