"""The configuration files of a lab Asterisk, as text.

Pure: each function takes what differs and gives a file's content. What they do not know is where
files lie and how Asterisk is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# In the order Asterisk should load them; those that a version does not have are left out.
MODULES = tuple(
    """
pbx_config app_dial app_stack app_exec app_verbose app_userevent app_waitforcond app_while
app_celgenuserevent app_playtones app_echo app_cdr app_originate app_macro app_queue app_transfer
func_callerid func_cdr func_channel func_logic func_strings func_timeout func_global func_cut
func_uri func_rand func_module func_hangupcause func_sprintf func_math func_base64 func_env
func_dialplan func_md5 func_sha1 func_lock res_clioriginate
res_timing_timerfd bridge_simple bridge_native_rtp bridge_holding codec_ulaw codec_alaw
res_cdrel_custom cdr_custom cdr_manager cel_custom
res_sorcery_config res_sorcery_memory res_sorcery_astdb res_pjproject res_pjsip res_pjsip_session
res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_header_funcs res_pjsip_endpoint_identifier_ip
res_pjsip_endpoint_identifier_user res_rtp_asterisk res_pjsip_pubsub func_pjsip_endpoint
func_pjsip_contact func_pjsip_aor chan_pjsip res_http_websocket res_crypto
""".split()  # noqa: SIM905
)

# Only what Asterisk's own in-band STIR/SHAKEN needs.
STIR_SHAKEN_MODULES = ("func_curl", "res_curl", "res_stir_shaken", "res_pjsip_stir_shaken")

CDR_COLUMNS = (
    *("uniqueid", "linkedid", "clid", "src", "dst", "dcontext", "channel", "dstchannel"),
    *("duration", "billsec", "disposition", "accountcode", "userfield"),
    *("stir_verstat", "stir_reason", "stir_attest", "stir_signer", "stir_ms", "stir_id"),
    *("stir_status", "stir_out_reason", "stir_out_ms", "stir_out_id", "stir_diverted_by"),
)
CEL_COLUMNS = ("eventtype", "eventtime", "userdeftype", "eventextra", "linkedid", "uniqueid")

QUIET_FILES = {
    "features.conf": "[general]\n",
    "udptl.conf": "[general]\n",
    "ccss.conf": "[general]\n",
    "acl.conf": "",
    "pjproject.conf": "",
    "websocket_client.conf": "",
    "cdr_manager.conf": "[general]\nenabled=no\n",
    "queues.conf": "[general]\n",
    "http.conf": "[general]\nenabled=no\n",
    "logger.conf": "[general]\ndateformat=%F %T.%3q\n"
    "[logfiles]\nfull => notice,warning,error,verbose(3)\n",
    "rtp.conf": "[general]\nrtpstart=20000\nrtpend=29999\n",
    "indications.conf": "[general]\ncountry=us\n[us]\ndescription=US\nringcadence=2000,4000\n"
    "dial=350+440\nbusy=480+620/500,0/500\nring=440+480/2000,0/4000\n"
    "congestion=480+620/250,0/250\n",
    "cdr.conf": "[general]\nenable=yes\nunanswered=yes\ncongestion=yes\n",
    "cel.conf": "[general]\nenable=yes\nevents=USER_DEFINED,CHAN_START,HANGUP\n"
    "[manager]\nenabled=no\n",
}


@dataclass(frozen=True, slots=True)
class Trunk:
    """A SIP trunk to a peer on loopback: calls from the peer's address enter at ``context``.

    ``name`` is the PJSIP endpoint: ``Dial(PJSIP/12125551234@name)``. ``mark`` is the trunk by which
    all that its channels do has come in, as pbx-stir's configuration names it.
    """

    name: str
    host: str
    port: int
    context: str = "from-trunk"
    trust_id_inbound: bool = True
    trust_connected_line: bool = False
    mark: str = ""


def asterisk_conf(directory: Path, run: Path, modules: Path, share: Path, name: str) -> str:
    """The directories of one instance."""
    return f"""[directories]
astcachedir => {directory}/cache
astetcdir => {directory}/etc
astmoddir => {modules}
astvarlibdir => {directory}/varlib
astdbdir => {directory}/varlib
astkeydir => {directory}/varlib
astdatadir => {share}
astagidir => {directory}/varlib
astspooldir => {directory}/spool
astrundir => {run}
astlogdir => {directory}/log
[options]
verbose = 3
debug = 0
maxfiles = 20000
systemname = {name}
lockconfdir = no
nocolor = yes
"""


def modules_conf(available: Path, names: Sequence[str]) -> str:
    """Loads exactly these, as far as this Asterisk has them."""
    present = [name for name in names if (available / f"{name}.so").exists()]
    return "[modules]\nautoload=no\n" + "".join(f"load={name}.so\n" for name in present)


def manager_conf(
    host: str, port: int, tls_port: int, certificate: Path | None, key: Path | None, users: str
) -> str:
    """AMI on one port, and over TLS on another if there is a certificate (PEM files)."""
    tls = ""
    if certificate is not None:
        tls = f"tlsenable = yes\ntlsbindaddr = {host}:{tls_port}\ntlscertfile = {certificate}\n"
        if key is not None:
            tls += f"tlsprivatekey = {key}\n"
    return (
        f"[general]\nenabled = yes\nbindaddr = {host}\nport = {port}\nwebenabled = no\n"
        f"displayconnects = no\nallowmultiplelogin = yes\nauthlimit = 200\n{tls}\n{users}\n"
    )


def manager_user(name: str, secret: str, read: str, write: str, more: str = "") -> str:
    """One section of manager.conf."""
    return f"[{name}]\nsecret = {secret}\nread = {read}\nwrite = {write}\n{more}\n"


def cdr_custom_conf(columns: Sequence[str]) -> str:
    """Master.csv with these CDR columns."""
    fields = ",".join(f"${{CSV_QUOTE(${{CDR({column})}})}}" for column in columns)
    return f"[mappings]\nMaster.csv => {fields}\n"


def cel_custom_conf(columns: Sequence[str]) -> str:
    """Master.csv with these CEL columns."""
    of_channel = {"linkedid", "uniqueid"}
    values = [f"CHANNEL({column})" if column in of_channel else column for column in columns]
    fields = ",".join(f"${{CSV_QUOTE(${{{value}}})}}" for value in values)
    return f"[mappings]\nMaster.csv => {fields}\n"


def pjsip_conf(host: str, port: int, name: str, trunks: Sequence[Trunk]) -> str:
    """A UDP transport and one endpoint a trunk, told apart by the peer's address."""
    text = f"[global]\ntype=global\nuser_agent=pbx-{name}\n"
    text += f"[udp]\ntype=transport\nprotocol=udp\nbind={host}:{port}\n"
    for trunk in trunks:
        trust = "yes" if trunk.trust_id_inbound else "no"
        changing = "yes" if trunk.trust_connected_line else "no"
        mark = f"set_var=__STIR_CAME_IN={trunk.mark}\n" if trunk.mark else ""
        text += f"""[{trunk.name}]
type=endpoint
transport=udp
context={trunk.context}
disallow=all
allow=ulaw
aors={trunk.name}
direct_media=no
media_address={host}
bind_rtp_to_media_address=yes
trust_id_inbound={trust}
trust_connected_line={changing}
send_pai=yes
{mark}[{trunk.name}]
type=aor
contact=sip:{trunk.host}:{trunk.port}
[{trunk.name}]
type=identify
endpoint={trunk.name}
match={trunk.host}
"""
    return text
