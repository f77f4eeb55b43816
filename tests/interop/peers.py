"""Real mail servers on loopback: Postfix and OpenSMTPD as next hops, Postfix as a client of the relay port."""

import os
import pathlib
import pwd
import signal
import subprocess
import time

from relay import free_port, wait_for_port


def wait_for_file(folder, marker, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in folder.rglob("*"):
            if path.is_file() and "tmp" not in path.parts[-2:-1] and marker in path.read_bytes():
                return path.read_bytes()
        time.sleep(0.2)
    raise AssertionError(f"no message with {marker!r} in {folder} within {seconds} s")


class Postfix:
    """An instance of its own: its configuration, queue and data lie in `folder`."""

    def __init__(self, folder, relayhost=None, delivery=None, domains=("reader.test",), namespace=None):
        """`namespace`: the name of a network namespace that it runs in. Its port is waited for by the caller then."""
        self.folder = pathlib.Path(folder)
        self.prefix = ["ip", "netns", "exec", namespace] if namespace else []
        self.port = free_port()
        self.config, self.mail = self.folder / "etc", self.folder / "mail"
        for path in (self.config, self.folder / "spool", self.folder / "lib", self.mail):
            path.mkdir(parents=True)
        owner = pwd.getpwnam("postfix")
        os.chown(self.folder / "lib", owner.pw_uid, owner.pw_gid)
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        delivery = delivery or (f"relayhost = [127.0.0.1]:{relayhost}\n" if relayhost else (
            f"virtual_mailbox_domains = {' '.join(domains)}\n"
            "virtual_mailbox_maps = static:all/\n"
            f"virtual_mailbox_base = {self.mail}\n"
            f"virtual_uid_maps = static:{owner.pw_uid}\nvirtual_gid_maps = static:{owner.pw_gid}\n"
            f"virtual_minimum_uid = 1\nvirtual_mailbox_limit = 0\n"
        ))
        (self.config / "main.cf").write_text(
            "compatibility_level = 3.6\n"
            f"queue_directory = {self.folder}/spool\ndata_directory = {self.folder}/lib\n"
            "myhostname = postfix.example.test\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n"
            "mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n"
            "message_size_limit = 60000000\nsmtpd_banner = postfix\nsmtp_dns_support_level = disabled\n"
            f"alias_maps =\nalias_database =\nmaillog_file = {self.folder}/log\nmaillog_file_prefixes = {self.folder}\n"
            + delivery
        )
        services = []
        for line in pathlib.Path("/etc/postfix/master.cf").read_text().splitlines():
            if line.startswith("smtp ") and " inet " in line:
                continue
            if line and not line[0].isspace() and not line.startswith("#"):
                fields = line.split()
                if len(fields) >= 8 and fields[1] in ("unix", "fifo") and fields[7] != "pipe":
                    fields[4] = "n"
                    services.append(" ".join(fields))
        services.append(f"127.0.0.1:{self.port} inet n - n - - smtpd")
        services.append("postlog unix-dgram n - n - 1 postlogd")
        seen, unique = set(), []
        for line in services:
            if (key := tuple(line.split()[:2])) not in seen:
                seen.add(key)
                unique.append(line)
        (self.config / "master.cf").write_text("\n".join(unique) + "\n")
        self.postfix("start")
        if not namespace:
            wait_for_port(self.port, None)

    def postfix(self, verb):
        done = subprocess.run([*self.prefix, "postfix", "-c", str(self.config), verb], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"postfix {verb}: {done.stderr}{done.stdout}")

    def wait(self, marker):
        return wait_for_file(self.mail, marker)

    def stop(self):
        self.postfix("stop")


class OpenSmtpd:
    """Unpacked, not installed: its package excludes Postfix's. It finds its helpers under /usr/libexec/opensmtpd."""

    def __init__(self, folder, unpacked, rules=None):
        self.folder, unpacked = pathlib.Path(folder), pathlib.Path(unpacked)
        self.port = free_port()
        self.mail = self.folder / "mail"
        self.mail.mkdir(parents=True)
        # What its package's installation makes: users, the folder it locks itself into, the spool.
        empty, spool = "/var/lib/opensmtpd/empty", pathlib.Path("/var/spool/smtpd")
        for user in ("opensmtpd", "opensmtpq", "interopmail"):
            subprocess.run(["useradd", "--system", "--user-group", "--home-dir", empty, "--shell", "/usr/sbin/nologin", user],
                           capture_output=True, check=False)
        os.makedirs(empty, exist_ok=True)
        spool.mkdir(mode=0o711, exist_ok=True)
        queuer = pwd.getpwnam("opensmtpq")
        for name, uid, gid, mode in (
            ("offline", 0, queuer.pw_gid, 0o770), ("purge", queuer.pw_uid, 0, 0o700), ("queue", queuer.pw_uid, 0, 0o700),
            ("corrupt", queuer.pw_uid, 0, 0o700), ("incoming", queuer.pw_uid, 0, 0o700), ("temporary", queuer.pw_uid, 0, 0o700),
        ):
            (spool / name).mkdir(exist_ok=True)
            os.chown(spool / name, uid, gid)
            (spool / name).chmod(mode)
        libexec = pathlib.Path("/usr/libexec/opensmtpd")
        if not libexec.exists():
            libexec.parent.mkdir(parents=True, exist_ok=True)
            libexec.symlink_to(unpacked / "usr/libexec/opensmtpd")
        owner = pwd.getpwnam("interopmail")
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        for path in (self.mail, *self.mail.parents):
            path.chmod(path.stat().st_mode | 0o011)
        config = self.folder / "smtpd.conf"
        config.write_text(
            "smtp max-message-size 60M\n"
            f"listen on 127.0.0.1 port {self.port} hostname opensmtpd.example.test\n"
            + (rules or (
                'table users { "@" = "interopmail" }\n'
                f'action "keep" maildir "{self.mail}" virtual <users>\n'
                'match from any for domain "reader.test" action "keep"\n'
            ))
        )
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen([str(unpacked / "usr/sbin/smtpd"), "-d", "-f", str(config)],
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        wait_for_port(self.port, self.process)

    def wait(self, marker):
        return wait_for_file(self.mail, marker)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.log.close()
