-- pbx_stir.lua: holds a call for a bounded time, until pbx-stir has signed or verified it.
--
--   inbound TRUNK [DID]        first thing in a trunk's context, inline, before anything else
--   outbound TRUNK [NUMBER]    in the gateway's execute_on_originate, or just before bridge
--   ended UNIQUE-ID ANSWERED   set by itself as a hangup hook, where that is free
--
-- TRUNK is the name of a [[trunk]] in pbx-stir's configuration. What it does is switched by global
-- variables, stir_in_TRUNK and stir_out_TRUNK: on, monitor, or anything else for off. It runs in the
-- call's own thread, never raises, and never waits longer than its budget. README.md has the
-- contract: variables, switches, what happens when nobody listens.

local VERSION = "1"
-- By this pbx-stir check knows whether the file is of its own version: api lua pbx_stir.lua version
local RELEASE = "0.1.0"
local STALE_SECONDS = 5
-- Most answers come within 60 ms; after that looking less often spares the processor.
local POLL_MS, LATER_POLL_MS, SOON_MS = 2, 10, 60
-- FreeSWITCH's clock may move by this much at once.
local TICK_MS = 20
local AFTER_EMERGENCY_SECONDS = 1800
local LONGEST_TEXT = 160
local LONGEST_ACCOUNT = 80
local LONGEST_IDENTITY = 3000
local MOST_IDENTITIES = 4
local MOST_PARTS = 16
-- FreeSWITCH writes one Identity header, in so many parts at most.
local MOST_HEADERS, MOST_HEADER_PARTS = 1, 4
local MOST_LEGS = 6
local FIELDS = { "status", "verstat", "reason", "attest", "orig", "dest", "signer", "id", "name", "call_reason",
  "diverted_by" }
local IN_WORDS = { name = true, call_reason = true }
-- What an inbound hook said stays for the call detail record when the same leg goes out again.
local KEPT = { "verstat", "reason", "attest", "signer", "ms", "id" }
local PREFIXES = { "", "0", "00", "8", "9" }
local HIDDEN = { hide_number = true, full = true, number = true, yes = true, id = true, user = true }
local OVER = { CS_HANGUP = true, CS_REPORTING = true, CS_DESTROY = true }
local IN_DIALPLAN = { CS_ROUTING = true, CS_EXECUTE = true, CS_SOFT_EXECUTE = true }
local FAILED = { ["internal-error"] = true, timeout = true, ["listener-down"] = true }

local api = freeswitch.API()

-- A value of a channel or a global as text, never nil.
local function text(value)
  if value == nil then return "" end
  return tostring(value)
end

local function first(...)
  for _, value in ipairs({ ... }) do
    if value ~= "" then return value end
  end
  return ""
end

local function global(name) return text(freeswitch.getGlobalVariable(name)) end

local function get(name) return text(session:getVariable(name)) end

-- An empty value takes the variable away.
local function set(name, value)
  if value ~= "" or get("stir_" .. name) ~= "" then session:setVariable("stir_" .. name, value) end
end

-- An API's answer without its end; nothing where it has none.
local function ask(command, arguments)
  local answer = text(api:execute(command, arguments)):gsub("%s+$", "")
  if answer == "_undef_" or answer:sub(1, 4) == "-ERR" or answer:sub(1, 4) == "-USA" then return "" end
  return answer
end

-- FreeSWITCH's own clock, in which the heartbeat is written too, and not the system's.
local function clock_ms() return tonumber(api:getTime()) end

local function clock_seconds() return math.floor(clock_ms() / 1000) end

local function mode_of(direction, trunk)
  return global((direction == "inbound" and "stir_in_" or "stir_out_") .. trunk):lower()
end

-- Ids go into commands and hooks: with a profile that takes them from Call-ID, a stranger chooses them.
local function is_uuid(value) return #value <= 150 and value:match("^[%w_.@+~!*-]+$") ~= nil end

-- A variable of another leg.
local function of_leg(uuid, name) return is_uuid(uuid) and ask("uuid_getvar", uuid .. " " .. name) or "" end

local function set_on_leg(uuid, name, value)
  if value:match("^[%w .+@_-]*$") then
    api:execute("uuid_setvar", uuid .. " stir_" .. name .. " " .. value)
  end
end

-- Only digits, with or without a plus: what else a number may be is for pbx-stir to read.
local function digits(number) return (number:gsub("[ ()%.%-]", ""):gsub("^%+", "")) end

-- Whether a regular expression of the administrator's is the whole number.
local function is_like(number, pattern)
  return number:match("^[%d*#]+$") ~= nil and ask("regex", "m:~" .. number .. "~^(?:" .. pattern .. ")$") == "true"
end

local function is_emergency(numbers)
  local listed = first(global("stir_emergency"), "911|933|112|999|000")
  local plain = listed:match("^[%d|]+$") ~= nil
  for _, number in ipairs(numbers) do
    local dialled = digits(number)
    if not plain then
      if is_like(dialled, "(?:0|00|8|9)?(?:" .. listed .. ")") then return true end
    else
      for one in listed:gmatch("%d+") do
        for _, prefix in ipairs(PREFIXES) do
          if dialled == prefix .. one then return true end
        end
      end
    end
  end
  return false
end

-- stir_excluded and stir_excluded_TRUNK are regular expressions over a whole number.
local function is_excluded(trunk, numbers)
  for _, name in ipairs({ "stir_excluded", "stir_excluded_" .. trunk }) do
    local pattern = global(name)
    if pattern ~= "" then
      for _, number in ipairs(numbers) do
        if is_like(digits(number), pattern) then return true end
      end
    end
  end
  return false
end

-- Who listens, and since when nothing is known of him: nil where the call is not to be held.
local function listener()
  local heartbeat = global("stir_heartbeat")
  local name, seconds = heartbeat:match("^(%x+):(%d+)$")
  if not name or math.abs(clock_seconds() - tonumber(seconds)) > STALE_SECONDS then return nil end
  -- One call has waited in vain for this heartbeat: that is enough.
  if heartbeat == global("stir_timed_out_heartbeat") then return nil end
  return name, heartbeat
end

local function budget(direction, trunk)
  local default = direction == "inbound" and 2000 or 1500
  local ms = tonumber(global("stir_budget_" .. trunk)) or default
  return math.floor(math.max(100, math.min(10000, ms)))
end

local function nonce()
  local made = ask("create_uuid", ""):gsub("[^%x]", "")
  if #made < 16 then error("no nonce") end
  return made:sub(-16)
end

-- What names the leg that one was made for, and, of queues, the leg that one was joined with.
local MADE_FOR = { "originator", "originating_leg_uuid", "ent_originate_aleg_uuid", "other_loopback_leg_uuid" }
local JOINED_WITH = { "cc_member_session_uuid", "fifo_bridge_uuid" }

-- The legs that this one was made for, nearest first, through loopback channels and transfers; those that it
-- was joined with too, where more names are given.
local function placing_legs(own_uuid, more)
  local legs, seen, at = {}, { [own_uuid] = true }, nil
  local names = { table.unpack(MADE_FOR) }
  for _, name in ipairs(more or {}) do names[#names + 1] = name end
  repeat
    local found
    for _, name in ipairs(names) do
      local uuid = at and of_leg(at, name) or not at and get(name) or ""
      if not found and uuid ~= "" and not seen[uuid] and is_uuid(uuid) then found = uuid end
    end
    at = found
    if found then
      seen[found] = true
      legs[#legs + 1] = found
    end
  until not found or #legs >= MOST_LEGS
  return legs
end

-- This leg's variable, else that of the nearest leg it was made for that has it.
local function of_any(name, legs)
  local value = get(name)
  for _, uuid in ipairs(legs) do
    if value ~= "" then break end
    value = of_leg(uuid, name)
  end
  return value
end

local function is_loopback(name) return name:sub(1, 9) == "loopback/" end

-- The id of the call whose leg this is: the one that came in, or one made for it, through loopback channels or
-- none. A leg that was called inherits the id too; but what that one makes, as att_xfer does, is of whom it rang.
local function came_in_as(own, is_callers)
  local legs = placing_legs(own)
  local id = of_any("stir_came_in_id", legs)
  if id == own or not is_callers and #legs == 0 then return id end
  if is_callers and not is_loopback(get("channel_name")) then return "" end
  for _, uuid in ipairs(legs) do
    if uuid == id then return id end
    if not is_loopback(of_leg(uuid, "channel_name")) then return "" end
  end
  return ""
end

-- Whether what places this call was itself called, and not as a user of ours: whoever answered an outside number
-- and is then transferred. He never met the inbound hook, and his number is what he says it is.
local function was_called(legs, is_callers)
  local function is_outside(read)
    return read("direction") == "outbound" and (read("dialed_user") == "" or read("sip_gateway_name") ~= "")
  end
  if is_callers and not is_loopback(get("channel_name")) then return is_outside(get) end
  for _, uuid in ipairs(legs) do
    local function read(name) return of_leg(uuid, name) end
    if not is_loopback(read("channel_name")) then return is_outside(read) end
  end
  return false
end

-- A privacy that is set in one of FreeSWITCH's ways: the privacy application, a dial string, a header.
local function is_hidden(read)
  if read("privacy_hide_number") == "true" then return true end
  for _, name in ipairs({ "origination_privacy", "sip_h_Privacy", "sip_h_privacy", "sip_Privacy" }) do
    for word in read(name):lower():gmatch("[%w_]+") do
      if HIDDEN[word] then return true end
    end
  end
  return false
end

local function is_restricted(legs)
  if is_hidden(get) then return true end
  for _, uuid in ipairs(legs) do
    if is_hidden(function(name) return of_leg(uuid, name) end) then return true end
  end
  return false
end

-- Everything that a service must know of the call, as one small event.
local function announce(call)
  local event = freeswitch.Event("CUSTOM", "pbx_stir::request")
  local function add(name, value) event:addHeader("Stir-" .. name, value) end
  add("Ver", VERSION)
  add("Listener", call.listener)
  add("Dir", call.direction == "inbound" and "in" or "out")
  add("Mode", call.mode)
  add("Trunk", call.trunk)
  add("From", call.orig:sub(1, LONGEST_TEXT))
  add("Pres", call.restricted and "prohib" or "allowed")
  add("To", call.dest:sub(1, LONGEST_TEXT))
  add("Originator", call.originator:sub(1, LONGEST_TEXT))
  add("Account", call.account:sub(1, LONGEST_ACCOUNT))
  add("CameIn", call.came_in)
  add("CameInId", is_uuid(call.came_in_id) and call.came_in_id or "")
  add("Uniqueid", call.uuid)
  add("Linkedid", call.linked)
  add("Nonce", call.nonce)
  add("Budget", tostring(call.budget))
  for number, identity in ipairs(call.identities) do
    if #identity <= LONGEST_IDENTITY then add("Identity" .. number, identity) end
  end
  add("Headers", tostring(call.headers or 0))
  event:fire()
end

-- The answer to this nonce, or nil while there is none.
local function answered(wanted)
  local found = get("stir_answer")
  if found:sub(1, #wanted + 1) ~= wanted .. "|" then return nil end
  local packed = found:sub(#wanted + 2)
  local parts = packed:match("^%+|(%d+)$")
  if not parts then return packed end
  local whole = {}
  for part = 1, math.min(tonumber(parts), MOST_PARTS) do
    whole[part] = get("stir_answer_" .. wanted .. "_" .. part)
    session:setVariable("stir_answer_" .. wanted .. "_" .. part, nil)
  end
  return table.concat(whole)
end

-- Let the legs that this one makes have these variables too.
local function export(names)
  local listed, more = get("export_vars"), {}
  for _, name in ipairs(names) do
    if not ("," .. listed .. ","):find("," .. name .. ",", 1, true) then more[#more + 1] = name end
  end
  if #more > 0 then
    session:setVariable("export_vars", (listed == "" and "" or listed .. ",") .. table.concat(more, ","))
  end
end

local function inherit(names)
  local whole = {}
  for index, name in ipairs(names) do whole[index] = "stir_" .. name end
  export(whole)
end

-- Who has been verified stays who he is: else mod_sofia takes a new name and number from his side at any time
-- (UPDATE, INFO, an answer) and shows them to the phone. FreeSWITCH before 1.10.7 does not know the first of these;
-- and his call may be taken over by one that has met no hook, so that the legs he is shown on need the second.
local function keep_caller()
  session:setVariable("sip_ignore_remote_cid", "true")
  session:setVariable("ignore_display_updates", "true")
  export({ "ignore_display_updates" })
end

-- What an answer says; a value that a dialplan could take for its own syntax is left empty.
local function unpacked(packed)
  local values = {}
  for value in (packed .. "|"):gmatch("([^|]*)|") do values[#values + 1] = value end
  local said = {}
  for index, name in ipairs(FIELDS) do
    local value = values[index] or ""
    -- Names are UTF-8, and pbx-stir has looked at their letters.
    local fit = IN_WORDS[name] and "^[%w .+@_\128-\255-]*$" or "^[%w .+@_-]*$"
    said[name] = value:match(fit) and value or ""
  end
  return said, values[#FIELDS + 1] or ""
end

-- Give the call the Identity header that the answer has for it. FreeSWITCH would write it twice: as it writes
-- its own, and as a header of ours.
local function carry(of_nonce)
  local parts = {}
  for part = 1, MOST_HEADER_PARTS do
    local name = "stir_identity_" .. of_nonce .. "_1_" .. part
    parts[part] = get(name)
    session:setVariable(name, nil)
  end
  local value = table.concat(parts):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  -- Nothing that FreeSWITCH would take for its syntax.
  if not value:match('^[%w._~:/@;=<>"+-]+$') then return end
  session:setVariable("sip_h_Identity", value)
  session:setVariable("exclude_outgoing_extra_header", "(?i)^sip_h_identity$")
  -- Once the INVITE has been answered it is of no more use: a leg that is made for this one would have it too.
  session:setVariable("execute_on_media_stir", "unset sip_h_identity")
  set("in_band", "true")
end

-- The Identity header that a call came in with: FreeSWITCH copies it to each leg, and writes it twice. What of it
-- goes on is in the answer; what has been found false, or is of another number, is not.
local function drop_identity()
  session:setVariable("sip_h_identity", nil)
  session:setVariable("sip_h_Identity", nil)
end

-- What the hook says where pbx-stir said nothing.
local function own_word(direction, reason)
  if direction == "inbound" then return { verstat = "No-TN-Validation", reason = reason } end
  return { status = FAILED[reason] and "error" or "skipped", reason = reason }
end

local function show(call, said, ms)
  for _, name in ipairs(FIELDS) do set(name, said[name] or "") end
  set("ms", ms)
  if call.direction == "inbound" then
    inherit({ "verstat", "reason", "attest", "orig", "dest", "signer", "id", "name", "call_reason", "diverted_by",
      "ms" })
    return
  end
  -- People look for an outbound outcome at the leg that placed the call, beside what was said of its coming in.
  set("out_reason", said.reason or "")
  set("out_ms", ms)
  set("out_id", said.id or "")
  for _, uuid in ipairs(call.legs) do
    set_on_leg(uuid, "status", said.status or "")
    set_on_leg(uuid, "out_reason", said.reason or "")
    set_on_leg(uuid, "out_ms", ms)
    set_on_leg(uuid, "out_id", said.id or "")
  end
end

local function clear(direction)
  if direction == "outbound" and get("stir_verstat") ~= "" then
    for _, name in ipairs(KEPT) do set("inbound_" .. name, get("stir_" .. name)) end
  end
  for _, name in ipairs(FIELDS) do set(name, "") end
  set("ms", "")
end

-- A PASSporT is used once; if this call ends unanswered, its caller may come again by another trunk.
local function watch_end(call)
  if get("api_hangup_hook") == "" then
    session:setVariable("api_hangup_hook", "lua pbx_stir.lua ended " .. call.uuid .. " ${answer_epoch}")
  end
end

-- Whether this leg has been hung up: a caller's CANCEL is looked at when ready() is asked, whose own answer is
-- false on every leg that is not answered yet.
local function is_over()
  session:ready()
  return OVER[text(session:getState())] == true
end

-- Wait for the answer: what it says, or nil, the milliseconds that passed, and whether the call ended meanwhile.
local function wait(call)
  local began, slept = clock_ms(), 0
  while true do
    local step = slept < SOON_MS and POLL_MS or LATER_POLL_MS
    freeswitch.msleep(step)
    slept = slept + step
    local packed = answered(call.nonce)
    -- The clock moves in steps, and could be set back: what was slept bounds the wait, and is finer.
    local passed = clock_ms() - began
    if math.abs(passed - slept) <= TICK_MS then passed = slept end
    if packed then return packed, passed, false end
    if is_over() then return nil, passed, true end
    if passed >= call.budget or slept >= call.budget then return answered(call.nonce), passed, false end
  end
end

local function hold(call, heartbeat)
  announce(call)
  local packed, passed, ended = wait(call)
  local ms = string.format("%d", math.max(0, math.floor(passed)))
  session:setVariable("stir_answer", nil)
  if packed then
    local said, headers = unpacked(packed)
    show(call, said, ms)
    if call.direction == "outbound" and call.came_in ~= "" then drop_identity() end
    if headers ~= "" then carry(call.nonce) end
    if said.verstat == "TN-Validation-Passed" then watch_end(call) end
  elseif not ended then
    freeswitch.setGlobalVariable("stir_timed_out_heartbeat", heartbeat)
    show(call, own_word(call.direction, "timeout"), ms)
  end
end

-- The Identity headers; FreeSWITCH joins several of one name as ARRAY::first|:second.
local function identities()
  local value = first(get("sip_identity"), get("sip_h_identity"), get("sip_h_Identity"))
  if value:sub(1, 7) ~= "ARRAY::" then return value ~= "" and { value } or {} end
  local found = {}
  for one in (value:sub(8) .. "|:"):gmatch("(.-)|:") do
    if #found < MOST_IDENTITIES then found[#found + 1] = one end
  end
  return found
end

local function inbound(trunk, did)
  return {
    direction = "inbound", trunk = trunk, uuid = get("uuid"), legs = {},
    orig = get("caller_id_number"), dest = first(did, get("destination_number")),
    restricted = is_restricted({}), came_in = trunk, came_in_id = get("stir_first_id"), originator = "", account = "",
    linked = first(get("call_uuid"), get("uuid")), identities = identities(),
  }
end

local function outbound(trunk, number)
  local call = { direction = "outbound", trunk = trunk, uuid = get("uuid"), identities = {} }
  call.legs = placing_legs(call.uuid, JOINED_WITH)
  call.came_in = of_any("stir_came_in", call.legs)
  -- An INVITE that replaces another call skips the dialplan, and so the inbound hook: from whom nobody has
  -- authenticated it came from outside.
  if call.came_in == "" and of_any("sip_replaces_call_id", call.legs) ~= ""
    and of_any("user_name", call.legs) == "" then
    call.came_in = trunk
  end
  -- In the dialplan this leg is the caller's; at a gateway it is the one that leaves, as it will leave.
  local is_callers = IN_DIALPLAN[text(session:getState())] == true
  if call.came_in == "" and was_called(placing_legs(call.uuid), is_callers) then call.came_in = trunk end
  -- What one caller came with goes with no leg that was only joined with his.
  call.came_in_id = came_in_as(call.uuid, is_callers)
  -- A header that the caller's leg is given would leave with every leg that it ever makes.
  call.headers = is_callers and 0 or MOST_HEADERS
  local effective = is_callers and get("effective_caller_id_number") or ""
  call.orig = first(effective, get("caller_id_number"))
  call.dest = first(number, get("destination_number")):gsub("^sips?:", ""):gsub("[@;].*$", "")
  call.restricted = is_restricted(call.legs)
  call.originator = first(of_any("stir_originator", call.legs), of_any("user_name", call.legs),
    of_any("sip_auth_username", call.legs))
  call.account = of_any("accountcode", call.legs)
  call.linked = first(of_any("call_uuid", call.legs), call.uuid)
  return call
end

-- The numbers of an outbound call by which emergency calls are known: as sent, and as dialled. What came
-- in on a trunk was not dialled here: that is one of our own numbers.
local function sent_and_dialled(call)
  local numbers = { call.dest }
  if call.came_in == "" then
    numbers[2] = get("destination_number")
    for _, uuid in ipairs(call.legs) do numbers[#numbers + 1] = of_leg(uuid, "destination_number") end
  end
  return numbers
end

-- Why a call is not to be held, or nil.
local function left_alone(call)
  local off = call.mode ~= "on" and call.mode ~= "monitor"
  if call.direction == "inbound" then
    if off then return "disabled" end
    -- An emergency centre that calls back must get through as ever.
    if clock_seconds() < (tonumber(global("stir_emergency_until")) or 0) then return "emergency" end
    return is_excluded(call.trunk, { call.dest, call.orig }) and "excluded" or nil
  end
  local numbers = sent_and_dialled(call)
  if is_emergency(numbers) then
    freeswitch.setGlobalVariable("stir_emergency_until", tostring(clock_seconds() + AFTER_EMERGENCY_SECONDS))
    return "emergency"
  end
  if off then return "disabled" end
  -- No number of three digits can be signed for, and somewhere each of them calls for help.
  return (#digits(call.dest) <= 3 or is_excluded(call.trunk, numbers)) and "excluded" or nil
end

local function serve(direction, trunk, number)
  if direction == "inbound" then
    -- Before anything else, whatever the switch says: a call that carries this mark, and every leg made for
    -- it, is never signed for one of our own numbers.
    session:setVariable("stir_came_in", trunk)
    session:setVariable("stir_came_in_id", get("uuid"))
    -- The same for legs that ask again: by it they are known as one call. A call_uuid changes in a bridge.
    session:setVariable("stir_first_id", first(get("stir_first_id"), get("uuid")))
    inherit({ "came_in", "came_in_id", "first_id" })
  end
  local call = (direction == "inbound" and inbound or outbound)(trunk, number)
  call.mode = mode_of(direction, trunk)
  local watched = call.mode == "monitor"
  if not watched then clear(direction) end
  if direction == "inbound" and not watched then keep_caller() end
  -- What an earlier hook of this leg gave it to carry was for another trunk, whatever this one's switch says.
  if get("stir_in_band") ~= "" then
    session:setVariable("sip_h_Identity", nil)
    session:setVariable("execute_on_media_stir", nil)
    set("in_band", "")
  end
  local reason, name, heartbeat = left_alone(call), nil, nil
  if not reason then
    name, heartbeat = listener()
    if not name then reason = "listener-down" end
  end
  if not reason and not is_uuid(call.uuid) then reason = "internal-error" end
  if reason then
    if not watched then show(call, own_word(direction, reason), "0") end
    return
  end
  call.listener, call.nonce, call.budget = name, nonce(), budget(direction, trunk)
  if watched then announce(call) else hold(call, heartbeat) end
end

local function ended(uuid, answer_epoch)
  if not is_uuid(uuid) then error("not an id") end
  local event = freeswitch.Event("CUSTOM", "pbx_stir::ended")
  event:addHeader("Stir-Uniqueid", uuid)
  event:addHeader("Stir-Answered", (tonumber(answer_epoch) or 0) > 0 and "yes" or "no")
  event:fire()
end

local direction, trunk, number = text(argv[1]), text(argv[2]), text(argv[3])
local works, failure
if direction == "ended" then
  works, failure = pcall(ended, trunk, number)
elseif direction == "version" then
  works, failure = pcall(function() stream:write(RELEASE) end)
elseif direction ~= "inbound" and direction ~= "outbound" then
  works, failure = false, "neither inbound nor outbound"
elseif not trunk:match("^[%w_.-]+$") or #trunk > 64 then
  works, failure = false, "not the name of a trunk"
else
  works, failure = pcall(serve, direction, trunk, number)
end
if not works then
  -- Not the whole message, which could quote what a stranger sent.
  freeswitch.consoleLog("err", "pbx_stir.lua: " .. text(failure):gsub("[^%w .:_-]", "?"):sub(1, 200) .. "\n")
  pcall(function()
    if session and direction ~= "ended" and mode_of(direction, trunk) ~= "monitor" then
      show({ direction = direction, legs = {} }, own_word(direction, "internal-error"), "0")
    end
  end)
end
