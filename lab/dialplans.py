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
