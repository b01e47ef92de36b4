"""The matrix of ssh_config files that fleettrace has to read as OpenSSH does."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

__all__ = ["FILES", "HOSTS", "MATRIX", "written"]

HOSTS = ("cache-1", "cache-2.example.net", "CACHE-3", "db", "10.0.0.7", "fd00::7")
"""Asked in this order, in one run: answers that are shared between hosts have to hold for each."""

# DIR is a directory with the files below, without blanks in its name, and ME the name of the user.
FILES = {
    "ops.conf": "User included\n",
    "host.conf": "Host cache-*\n  Port 2201\nHost db\n  Port 2202\n",
    ".hidden.conf": "User hidden\n",
    "with blank.conf": "User blank\n",
    "nested.conf": "Include DIR/ops.conf\nPort 2203\n",
    "match.conf": "Match originalhost db\n  User matched\n",
    "many/10-a.conf": "User ten\n",
    "many/20-b.conf": "User twenty\nPort 2220\n",
    "many/.30-c.conf": "Port 2230\n",
    "policy.conf": "Ciphers aes256-gcm@openssh.com,aes256-ctr\nHostKeyAlgorithms ssh-ed25519\n",
    "loop.conf": "Include DIR/loop.conf\n",
}

MATRIX = {
    # hosts and patterns
    "empty": "",
    "comments and blanks": "# a comment\n\n   # another\n\tUser ops\n",
    "star": "Host *\n  User ops\n  Port 2200\n",
    "two patterns": "Host cache-1 db\n  Port 2200\n",
    "question mark": "Host cache-?\n  Port 2200\n",
    "negation": "Host cache-* !cache-1\n  Port 2200\n",
    "negation alone": "Host !db\n  Port 2200\n",
    "negation first": "Host !cache-1 *\n  Port 2200\n",
    "brackets are no range": "Host cache-[12]\n  Port 2200\n",
    "quoted pattern": 'Host "cache-1" "db"\n  Port 2200\n',
    "pattern in capitals": "Host CACHE-3\n  Port 2200\n",
    "host in small letters": "Host cache-3\n  Port 2200\n",
    "keywords in capitals": "HOST db\n  PORT 2200\n  USER ops\n",
    "first value wins": "Host db\n  User first\nHost *\n  User second\n",
    "later block adds": "Host *\n  User ops\nHost db\n  Port 2200\n  User late\n",
    "before the first host": "Port 2200\nHost db\n  User ops\n",
    "equals sign": "Host=db\n  User=ops\n  Port = 2200\n",
    "tabs": "Host\tdb\n\tUser\tops\n",
    "trailing blanks": "Host db   \n  User ops   \n",
    "carriage returns": "Host db\r\n  User ops\r\n",
    "comment behind a value": "Host db # the database\n  User ops # its user\n",
    "quoted values": 'Host db\n  User "ops"\n  Port "2200"\n',
    "address pattern": "Host 10.0.0.*\n  User ops\n",
    "IPv6 pattern": "Host fd00::*\n  User ops\n",
    "comma in a pattern": "Host cache-1,db\n  User ops\n",
    # names and ports
    "hostname": "Host db\n  HostName db.example.net\n",
    "hostname with %h": "Host cache-1\n  HostName %h.example.net\n",
    "hostname with %%": "Host db\n  HostName a%%b\n",
    "hostname of all": "HostName %h.example.net\n",
    "hostname in capitals": "Host db\n  HostName DB.Example.NET\n",
    "alias chain is none": "Host db\n  HostName cache-1\nHost cache-1\n  User ops\n",
    "bad port": "Host db\n  Port many\n",
    "port of all": "Port 2200\n",
    # Match
    "match all": "Match all\n  User ops\n",
    "match host": "Match host db\n  User ops\n",
    "match host list": "Match host db,cache-1\n  User ops\n",
    "match host negated": "Match !host db\n  User ops\n",
    "match host negated pattern": "Match host *,!db\n  User ops\n",
    "match with capitals": "Match Host db\n  User ops\n",
    "match originalhost": "Host db\n  HostName other\nMatch originalhost db\n  User ops\n",
    "match host after hostname": "Host db\n  HostName other\nMatch host other\n  User ops\n",
    "match user": "Match user ME\n  Port 2200\nMatch user another\n  Port 2201\n",
    "match user that was set": "Host db\n  User ops\nMatch user ops\n  Port 2200\n",
    "match localuser": "Match localuser ME\n  Port 2200\n",
    "match localuser negated": "Match !localuser ME\n  Port 2200\n",
    "match exec": 'Match exec "test %h = db"\n  User ops\n',
    "match exec false": "Match exec false\n  User ops\n",
    "match exec with original name": 'Host db\n HostName other\nMatch exec "test %n = db"\n  User ops\n',
    "match host and exec": "Match host db exec true\n  User ops\n",
    "match final": "Match final host db\n  User ops\n",
    "match final all": "Match final all\n  Port 2200\n",
    "match canonical": "Match canonical host db\n  User ops\n",
    "match canonical without": "Match !canonical host db\n  User ops\n",
    "match final after values": "User early\nMatch final all\n  User late\n  Port 2200\n",
    "match localnetwork": "Match localnetwork 10.0.0.0/8\n  User ops\n",
    "match tagged": "Host db\n  Tag blue\nMatch tagged blue\n  User ops\n",
    "match localnetwork negated": "Match !localnetwork 10.0.0.0/8\n  User ops\n",
    "match localnetwork of any": "Match localnetwork 0.0.0.0/0,::/0\n  User ops\n",
    "match localnetwork with a wrong network": "Match localnetwork here\n  User ops\n",
    "match exec negated": 'Match !exec "test %h = db"\n  User ops\n',
    "match exec with port and user": 'Match exec "test %p.%r = 22.%u"\n  User ops\n',
    "match exec with equals": 'Match host=db exec="true"\n  User ops\n',
    "match user negated": "Match !user ME\n  User ops\n",
    "match originalhost negated": "Match !originalhost db,cache-*\n  User ops\n",
    "match original and host": "Host db\n  HostName other\nMatch originalhost d? host o*\n  User ops\n",
    "match final negated": "Match !final host db\n  User ops\n",
    "match final with hostname": "Host db\n  HostName other\nMatch final host other\n  User ops\n",
    "match canonical all": "Match canonical all\n  User ops\n",
    "match criteria in capitals": "MATCH HOST db LOCALUSER ME\n  User ops\n",
    "match all and another": "Match all host db\n  User ops\n",
    "match all negated": "Match !all\n  User ops\n",
    "match tagged negated": "Host db\n  Tag blue\nMatch !tagged blue\n  User ops\n",
    "match command": "Match command true\n  User ops\n",
    "match comment": "Match host db # the database\n  User ops\n",
    "match quoted": 'Match host "db,cache-1"\n  User ops\n',
    "match version": "Match version OpenSSH_*\n  User ops\n",
    "match sessiontype": "Match sessiontype shell\n  User ops\n",
    "match unknown criterion": "Match moon full\n  User ops\n",
    "match without a value": "Match host\n  User ops\n",
    "match ends a host block": "Host db\n  User ops\nMatch all\n  Port 2200\n",
    # canonical names: the resolver's answer decides, and names without a dot fail to resolve
    "canonicalize": "CanonicalizeHostname yes\nCanonicalDomains invalid\nHost db\n  User ops\n",
    "canonicalize no": "CanonicalizeHostname no\nCanonicalDomains example.net\n",
    # Include
    "include": "Include DIR/ops.conf\n",
    "include in a host block": "Host db\n  Include DIR/ops.conf\n  Port 2200\n",
    "include with host blocks": "Include DIR/host.conf\nUser after\n",
    "include glob": "Include DIR/many/*.conf\n",
    "include glob leaves out dotfiles": "Include DIR/*hidden.conf\n",
    "include dotfile by name": "Include DIR/.hidden.conf\n",
    "include two files": "Include DIR/host.conf DIR/ops.conf\n",
    "include quoted": 'Include "DIR/with blank.conf"\n',
    "include missing": "Include DIR/no-such-file.conf\nUser ops\n",
    "include nested": "Include DIR/nested.conf\n",
    "include with match": "Include DIR/match.conf\nHost db\n  Port 2200\n",
    "include itself": "Include DIR/loop.conf\n",
    "include and comment": "Include DIR/ops.conf # the user\n",
    "include with equals": "Include=DIR/ops.conf\n",
    # ways
    "jump": "Host cache-*\n  ProxyJump gw\nHost gw\n  HostName gw.example.net\n  User jumper\n  Port 2222\n",
    "jump with user and port": "Host db\n  ProxyJump ops@gw:2200\n",
    "jump chain": "Host db\n  ProxyJump a@one:1,b@two:2\n",
    "jump uri": "Host db\n  ProxyJump ssh://ops@gw:2200\n",
    "jump none": "Host db\n  ProxyJump none\nHost *\n  ProxyJump gw\nHost gw\n  ProxyJump none\n",
    "jump and command": "Host db\n  ProxyCommand nc %h %p\n  ProxyJump gw\n",
    "command": "Host db\n  ProxyCommand ssh -W %h:%p gw\n",
    "command none": "Host db\n  ProxyCommand none\nHost db cache-1\n  ProxyCommand nc %h %p\n",
    "command with quotes": "Host db\n  ProxyCommand sh -c \"nc '%h' %p\"\n",
    # identities and host keys
    "identity": "IdentityFile /keys/a\nIdentityFile /keys/b\n",
    "identity per host": "Host db\n  IdentityFile /keys/db\nIdentityFile /keys/all\n",
    "identity quoted": 'IdentityFile "/keys/with blank"\n',
    "identity with tokens": "IdentityFile /keys/%h-%r-%n\n",
    "identity in home": "IdentityFile ~/.ssh/fleet\n",
    "identities only": "Host db\n  IdentitiesOnly yes\n",
    "known hosts": "UserKnownHostsFile /known/a /known/b\n",
    "known hosts with token": "UserKnownHostsFile /known/%h\n",
    "known hosts none": "GlobalKnownHostsFile none\nUserKnownHostsFile none\n",
    "host key alias": "Host db\n  HostKeyAlias gold\n",
    "host key checking": "Host db\n  StrictHostKeyChecking accept-new\n",
    "host key checking off": "StrictHostKeyChecking no\n",
    "system known hosts": "GlobalKnownHostsFile /known/all /known/%h ~/known\n",
    # algorithms
    "algorithms": "Ciphers aes256-ctr,aes128-ctr\nMACs hmac-sha2-256\nKexAlgorithms curve25519-sha256\n",
    "algorithms added": "Host db\n  HostKeyAlgorithms +ssh-rsa\n  PubkeyAcceptedAlgorithms +ssh-rsa\n",
    "algorithms removed": "Host db\n  Ciphers -*cbc,aes128*\n  MACs -*sha1*\n",
    "algorithms put first": "HostKeyAlgorithms ^rsa-sha2-512\n",
    "algorithms by a policy": "Match final all\n  Include DIR/policy.conf\n",
    "algorithm unknown": "Ciphers moon\n",
    # what ssh does not accept
    "unknown keyword": "UseKeychain yes\n",
    "ignored unknown keyword": "IgnoreUnknown UseKeychain\nUseKeychain yes\nUser ops\n",
    "missing value": "Host db\n  User\n",
    "open quote": 'Host db\n  User "ops\n',
    "two values": "Host db\n  User ops dev\n",
    "host without a pattern": "Host\n  User ops\n",
}


def written(directory: Path, case: str) -> Path:
    """Write the file of a case into a directory, beside those that it may include."""
    for name, text in (*FILES.items(), ("config", MATRIX[case])):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        text = re.sub(r"\bME\b", getpass.getuser(), text.replace("DIR", str(directory)))
        path.write_text(text, newline="")
    return directory / "config"
