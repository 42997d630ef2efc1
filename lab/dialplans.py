"""The dialplans of the demo's PBXs: what their administrators would have written.

``COMPANY`` is that of the two companies, ``STRANGER`` that of the third party. The stir hooks are
the only lines that pbx_stir asks for.
"""

from __future__ import annotations

COMPANY = """
[globals]
STIR_OUT_carrier=on
STIR_IN_carrier=on

[office]
; "number*caller ID": a phone of the office calls. With "*late" the trunk is busy for a second.
exten => _X!,1,Set(CALLERID(num)=${CUT(EXTEN,*,2)})
 same => n,Set(CALLERID(name)=Office)
 same => n,Set(number=${CUT(EXTEN,*,1)})
 same => n,Gosub(pbx-stir-outbound,s,1(carrier,${number}))
 same => n,GotoIf($["${CUT(EXTEN,*,3)}"=""]?dial)
 same => n,Wait(2)
 same => n(dial),Dial(PJSIP/${number}@to-${number:0:4},10)
 same => n,Hangup()

[from-carrier]
exten => _[0-9+]!,1,Gosub(pbx-stir-inbound,s,1(carrier,${EXTEN}))
 same => n,GotoIf($["${EXTEN:-2}"="90"]?forward)
 same => n,GotoIf($["${STIR_VERSTAT}"="TN-Validation-Passed"]?ring)
 same => n,Goto(screening,${EXTEN},1)
 same => n(ring),Gosub(pbx-stir-name,s,1)
 same => n,Dial(Local/${EXTEN}@phone/n,10)
 same => n,Hangup()
; extension 90 is forwarded to the other company
 same => n(forward),Set(number=FORWARD_TO)
 same => n,Gosub(pbx-stir-outbound,s,1(carrier,${number}))
 same => n,Dial(PJSIP/${number}@to-${number:0:4},10)
 same => n,Hangup()

[phone]
exten => _X!,1,Ringing()
 same => n,Wait(0.1)
 same => n,Answer()
 same => n,Wait(4)
 same => n,Hangup()

[screening]
exten => _X!,1,Answer()
 same => n,Wait(4)
 same => n,Hangup()
"""

STRANGER = """
[globals]
STIR_OUT_carrier=off
STIR_IN_carrier=off

[anywhere]
; "number*caller ID": whoever calls may say any caller ID
exten => _X!,1,Set(CALLERID(num)=${CUT(EXTEN,*,2)})
 same => n,Set(CALLERID(name)=${CUT(EXTEN,*,2)})
 same => n,Dial(PJSIP/${CUT(EXTEN,*,1)}@to-${EXTEN:0:4},10)
 same => n,Hangup()

[from-carrier]
exten => _X!,1,Answer()
 same => n,Wait(4)
 same => n,Hangup()
"""

NETWORKS = """
[globals]
STIR_OUT_carrier=on
STIR_IN_carrier=on
STIR_OUT_sip=on
STIR_IN_sip=on

[office]
; "number*caller ID": a phone calls, by numbers only; "number*caller ID*network" calls by SIP
exten => _X!,1,Set(CALLERID(num)=${CUT(EXTEN,*,2)})
 same => n,Set(number=${CUT(EXTEN,*,1)})
 same => n,Set(network=${CUT(EXTEN,*,3)})
 same => n,GotoIf($["${network}"!=""]?sip)
 same => n,Gosub(pbx-stir-outbound,s,1(carrier,${number}))
 same => n,Dial(PJSIP/${number}@to-${number:0:4},10)
 same => n,Hangup()
 same => n(sip),Gosub(pbx-stir-outbound,s,1(sip,${number}))
 same => n,Dial(PJSIP/sip${number}@to-${network},10,b(pbx-stir-in-band^s^1))
 same => n,Hangup()

[from-carrier]
exten => _X!,1,Gosub(pbx-stir-inbound,s,1(carrier,${EXTEN}))
 same => n,GotoIf($["${EXTEN:-2}"="90"]?forward)
 same => n,GotoIf($["${EXTEN:-2}"="91"]?again)
 same => n,GotoIf($["${EXTEN:-2}"="92"]?group)
 same => n,GotoIf($["${EXTEN:-2}"="93"]?answered)
 same => n,GotoIf($["${EXTEN:-2}"="94"]?queue)
 same => n,GotoIf($["${EXTEN:-2}"="95"]?joined)
 same => n,GotoIf($["${EXTEN:-2}"="50"]?customer)
 same => n,Dial(Local/${EXTEN}@phone/n,10)
 same => n,Hangup()
; extension 90 is forwarded to another company, 91 to one that forwards it as well; 92 rings at two
; companies; 93 is answered, to be transferred; 94 is a queue that nobody serves; 95
; joins the call that JOIN names
 same => n(again),Set(number=17205556090)
 same => n,Goto(leave)
 same => n(forward),Set(number=FORWARD_TO)
 same => n(leave),Gosub(pbx-stir-outbound,s,1(carrier,${number}))
 same => n,Dial(PJSIP/${number}@to-${number:0:4},10)
 same => n,Hangup()
 same => n(group),Dial(Local/FORWARD_TO@leaves/n&Local/1646555400${CALLERID(num):-1}@leaves/n,10)
 same => n,Hangup()
 same => n(queue),Answer()
 same => n,Queue(empty,,,,1)
 same => n,Set(number=FORWARD_TO)
 same => n,Goto(leave)
 same => n(answered),Answer()
 same => n,Wait(20)
 same => n,Hangup()
 same => n(joined),Answer()
 same => n,Bridge(${GLOBAL(JOIN)})
 same => n,Hangup()
; number 50 is a customer's, who is reached by SIP
 same => n(customer),Gosub(pbx-stir-outbound,s,1(sip,${EXTEN}))
 same => n,Dial(PJSIP/sip${EXTEN}@to-1720,10,b(pbx-stir-in-band^s^1))
 same => n,Hangup()

[leaves]
exten => _X!,1,Gosub(pbx-stir-outbound,s,1(carrier,${EXTEN}))
 same => n,Dial(PJSIP/${EXTEN}@to-${EXTEN:0:4},10)
 same => n,Hangup()

[from-carrier]
; by SIP: for a customer, who lets Asterisk itself judge, or for another network
exten => _sip.,1,GotoIf($["${EXTEN:3:4}"="1646"]?judged)
 same => n,Gosub(pbx-stir-inbound,s,1(sip,${EXTEN:3}))
 same => n,Gosub(pbx-stir-outbound,s,1(carrier,${EXTEN:3}))
 same => n,Dial(PJSIP/${EXTEN:3}@to-${EXTEN:3:4},10)
 same => n,Hangup()
 same => n(judged),Set(said=${STIR_SHAKEN(count)} ${STIR_SHAKEN(0,verify_result)})
 same => n,Set(CDR(userfield)=${said} ${STIR_SHAKEN(0,attestation)})
 same => n,Dial(Local/${EXTEN:3}@phone/n,10)
 same => n,Hangup()

[phone]
exten => _X!,1,Ringing()
 same => n,Wait(0.1)
 same => n,Answer()
 same => n,Wait(1)
 same => n,Hangup()
"""
