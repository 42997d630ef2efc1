-- pbx_stir.lua: holds a call for a bounded time, until pbx-stir has signed or verified it.
--
--   inbound TRUNK [DID]        first thing in a trunk's context, inline, before anything else
--   outbound TRUNK [NUMBER]    in the gateway's execute_on_originate, or before bridge
--   ended UNIQUE-ID ANSWERED   set by itself as a hangup hook, where that is free
--
-- TRUNK is the name of a [[trunk]] in pbx-stir's configuration. What it does is switched by global
-- variables, stir_in_TRUNK and stir_out_TRUNK: on, monitor, or anything else for off. It runs in the
-- call's own thread, never raises, and never waits longer than its budget. README.md has the
-- contract: variables, switches, what happens when nobody listens.

local VERSION = "1"
local STALE_SECONDS = 5
local POLL_MS = 2
local AFTER_EMERGENCY_SECONDS = 1800
local LONGEST_TEXT = 160
local LONGEST_IDENTITY = 3000
local MOST_IDENTITIES = 4
local MOST_PARTS = 16
local FIELDS = { "status", "verstat", "reason", "attest", "orig", "dest", "signer", "id", "name", "call_reason",
  "diverted_by" }
local PREFIXES = { "", "0", "00", "8", "9" }

local api = freeswitch.API()

-- A value of a channel or a global as text, never nil.
local function text(value)
  if value == nil then return "" end
  return tostring(value)
end

local function global(name) return text(freeswitch.getGlobalVariable(name)) end

local function get(name) return text(session:getVariable(name)) end

local function set(name, value) session:setVariable("stir_" .. name, value) end

-- An API's answer without its end; nothing where it has none.
local function ask(command, arguments)
  local answer = text(api:execute(command, arguments)):gsub("%s+$", "")
  if answer == "_undef_" or answer:sub(1, 4) == "-ERR" or answer:sub(1, 4) == "-USA" then return "" end
  return answer
end

local function is_uuid(value) return value:match("^[%w%-]+$") ~= nil and #value <= 150 end

-- A variable of another leg.
local function of_leg(uuid, name)
  if not is_uuid(uuid) then return "" end
  return ask("uuid_getvar", uuid .. " " .. name)
end

local function set_on_leg(uuid, name, value)
  if is_uuid(uuid) and value:match("^[%w .+@_-]*$") then
    api:execute("uuid_setvar", uuid .. " stir_" .. name .. " " .. value)
  end
end

-- Only digits, with or without a plus: what else a number may be is for pbx-stir to read.
local function digits(number) return (number:gsub("[ ()%.%-]", ""):gsub("^%+", "")) end

local function is_emergency(...)
  local listed = global("stir_emergency")
  if listed == "" then listed = "911|933|112|999|000" end
  for _, dialled in ipairs({ ... }) do
    for number in listed:gmatch("[^|]+") do
      for _, prefix in ipairs(PREFIXES) do
        if digits(dialled) == prefix .. number then return true end
      end
    end
  end
  return false
end

-- stir_excluded and stir_excluded_TRUNK are regular expressions over a whole number.
local function is_excluded(trunk, ...)
  for _, name in ipairs({ "stir_excluded", "stir_excluded_" .. trunk }) do
    local pattern = global(name)
    if pattern ~= "" then
      for _, number in ipairs({ ... }) do
        local plain = digits(number)
        if plain:match("^%d+$") and ask("regex", "m:#" .. plain .. "#^(?:" .. pattern .. ")$") == "true" then
          return true
        end
      end
    end
  end
  return false
end

-- Who listens, and since when nothing is known of him: nil where the call is not to be held.
local function listener()
  local heartbeat = global("stir_heartbeat")
  local name, seconds = heartbeat:match("^(%x+):(%d+)$")
  if not name or os.time() - tonumber(seconds) > STALE_SECONDS then return nil end
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
  return made:sub(1, 16)
end

-- The leg that placed the call, of whose endpoint and account the caller's numbers depend.
local function placing_leg()
  for _, name in ipairs({ "originator", "originating_leg_uuid", "ent_originate_aleg_uuid" }) do
    local uuid = get(name)
    if uuid ~= "" and uuid ~= get("uuid") and is_uuid(uuid) then return uuid end
  end
  return ""
end

local function first(...)
  for _, value in ipairs({ ... }) do
    if value ~= "" then return value end
  end
  return ""
end

-- One leg's variable, else the placing leg's.
local function of_either(name, placed_by)
  local own = get(name)
  if own == "" and placed_by ~= "" then return of_leg(placed_by, name) end
  return own
end

local HIDDEN = { hide_number = true, full = true, number = true, yes = true, id = true, user = true }

local function is_restricted()
  if get("privacy_hide_number") == "true" then return true end
  for _, name in ipairs({ "origination_privacy", "sip_h_Privacy", "sip_h_privacy", "privacy" }) do
    for word in get(name):lower():gmatch("[%w_]+") do
      if HIDDEN[word] then return true end
    end
  end
  return false
end

local function cut(value, most) return value:sub(1, most) end

-- Everything that a service must know of the call, as one small event.
local function announce(call)
  local event = freeswitch.Event("CUSTOM", "pbx_stir::request")
  local function add(name, value) event:addHeader("Stir-" .. name, value) end
  add("Ver", VERSION)
  add("Listener", call.listener)
  add("Dir", call.direction == "inbound" and "in" or "out")
  add("Mode", call.mode)
  add("Trunk", call.trunk)
  add("From", cut(call.orig, LONGEST_TEXT))
  add("Pres", call.restricted and "prohib" or "allowed")
  add("To", cut(call.dest, LONGEST_TEXT))
  add("Originator", cut(call.originator, LONGEST_TEXT))
  add("Account", cut(call.account, 80))
  add("CameIn", call.came_in)
  add("Uniqueid", call.uuid)
  add("Linkedid", call.linked)
  add("Nonce", call.nonce)
  add("Budget", tostring(call.budget))
  for number, identity in ipairs(call.identities) do
    if #identity <= LONGEST_IDENTITY then add("Identity" .. number, identity) end
  end
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

-- Set what an answer says; a value that a dialplan could take for its own syntax is left empty.
local function take(packed)
  local values, at = {}, 1
  for value in (packed .. "|"):gmatch("([^|]*)|") do
    values[at], at = value, at + 1
  end
  local said = {}
  for index, name in ipairs(FIELDS) do
    local value = values[index] or ""
    said[name] = value:match("^[%w .+@_-]*$") and value or ""
  end
  return said
end

local function show(said)
  for _, name in ipairs(FIELDS) do set(name, said[name] or "") end
end

local function clear()
  for _, name in ipairs(FIELDS) do set(name, "") end
  set("ms", "")
end

-- What the hook says where pbx-stir said nothing.
local function own(call, reason, ms)
  local said = { reason = reason }
  if call.direction == "inbound" then said.verstat = "No-TN-Validation"
  elseif reason == "internal-error" or reason == "timeout" or reason == "listener-down" then said.status = "error"
  else said.status = "skipped" end
  show(said)
  set("ms", tostring(ms or 0))
  return said
end

-- The outcome of an outbound call is also the placing leg's, where people look for it.
local function tell_placing_leg(call, said, ms)
  if call.placed_by == "" then return end
  set_on_leg(call.placed_by, "status", said.status or "")
  set_on_leg(call.placed_by, "out_reason", said.reason or "")
  set_on_leg(call.placed_by, "out_ms", tostring(ms))
  set_on_leg(call.placed_by, "out_id", said.id or "")
end

-- A PASSporT is used once; if this call ends unanswered, its caller may come again by another trunk.
local function watch_end(call)
  if get("api_hangup_hook") == "" then
    session:setVariable("api_hangup_hook", "lua pbx_stir.lua ended " .. call.uuid .. " ${answer_epoch}")
  end
end

local function hold(call, heartbeat)
  local began = api:getTime()
  announce(call)
  local packed = nil
  -- session:ready() is false on a leg that has not been dialled yet; a cause means that it has ended.
  repeat
    freeswitch.msleep(POLL_MS)
    packed = answered(call.nonce)
  until packed or api:getTime() - began >= call.budget or get("hangup_cause") ~= ""
  local ms = math.floor(api:getTime() - began)
  packed = packed or answered(call.nonce)
  local said
  if packed then
    said = take(packed)
    show(said)
    set("ms", tostring(ms))
    if said.verstat == "TN-Validation-Passed" then watch_end(call) end
  else
    said = own(call, "timeout", ms)
    if get("hangup_cause") == "" then freeswitch.setGlobalVariable("stir_timed_out_heartbeat", heartbeat) end
  end
  session:setVariable("stir_answer", nil)
  return said, ms
end

local function identities()
  local found = {}
  for _, name in ipairs({ "sip_h_identity", "sip_h_Identity" }) do
    local value = get(name)
    if value ~= "" and #found == 0 then
      -- FreeSWITCH joins several headers of one name as ARRAY::first|:second
      if value:sub(1, 7) == "ARRAY::" then
        for one in (value:sub(8) .. "|:"):gmatch("(.-)|:") do found[#found + 1] = one end
      else
        found[1] = value
      end
    end
  end
  for index = #found, MOST_IDENTITIES + 1, -1 do found[index] = nil end
  return found
end

local function inbound(trunk, did)
  local call = { direction = "inbound", trunk = trunk, uuid = get("uuid"), placed_by = "" }
  -- Inherited by every leg: what came in from outside is never signed for one of our own numbers.
  session:execute("export", "stir_came_in=" .. trunk)
  call.mode = global("stir_in_" .. trunk):lower()
  call.orig, call.dest = get("caller_id_number"), first(did, get("destination_number"))
  call.restricted, call.came_in = is_restricted(), trunk
  call.originator, call.account = "", ""
  call.linked = first(get("call_uuid"), call.uuid)
  call.identities = identities()
  return call
end

local function outbound(trunk, number)
  local call = { direction = "outbound", trunk = trunk, uuid = get("uuid"), identities = {} }
  call.placed_by = get("direction") == "outbound" and placing_leg() or ""
  call.mode = global("stir_out_" .. trunk):lower()
  if call.placed_by ~= "" or get("direction") == "outbound" then
    call.orig = first(get("origination_caller_id_number"), get("caller_id_number"))
  else
    call.orig = first(get("effective_caller_id_number"), get("caller_id_number"))
  end
  call.dest = first(number, get("destination_number"))
  call.dialled = call.placed_by ~= "" and of_leg(call.placed_by, "destination_number") or get("destination_number")
  call.restricted = is_restricted()
  call.came_in = of_either("stir_came_in", call.placed_by)
  call.originator = first(of_either("stir_originator", call.placed_by), of_either("user_name", call.placed_by))
  call.account = of_either("accountcode", call.placed_by)
  call.linked = first(of_either("call_uuid", call.placed_by), call.placed_by, call.uuid)
  return call
end

-- Why a call is not to be held, or nil.
local function left_alone(call)
  if call.direction == "outbound" then
    if is_emergency(call.dest, call.dialled) then
      freeswitch.setGlobalVariable("stir_emergency_until", tostring(os.time() + AFTER_EMERGENCY_SECONDS))
      return "emergency"
    end
    if #digits(call.dest) <= 3 then return "excluded" end
    if is_excluded(call.trunk, call.dest, call.dialled) then return "excluded" end
  else
    if os.time() < (tonumber(global("stir_emergency_until")) or 0) then return "emergency" end
    if is_excluded(call.trunk, call.dest, call.orig) then return "excluded" end
  end
  return nil
end

local function serve(direction, trunk, number)
  local call = direction == "inbound" and inbound(trunk, number) or outbound(trunk, number)
  local watched = call.mode == "monitor"
  if not watched then clear() end
  local reason = left_alone(call)
  if not reason and call.mode ~= "on" and not watched then reason = "disabled" end
  local name, heartbeat
  if not reason then
    name, heartbeat = listener()
    if not name then reason = "listener-down" end
  end
  if reason then
    if not watched then tell_placing_leg(call, own(call, reason), 0) end
    return
  end
  call.listener, call.nonce, call.budget = name, nonce(), budget(direction, trunk)
  if watched then return announce(call) end
  tell_placing_leg(call, hold(call, heartbeat))
end

local function ended(uuid, answer_epoch)
  if not is_uuid(uuid) then return end
  local event = freeswitch.Event("CUSTOM", "pbx_stir::ended")
  event:addHeader("Stir-Uniqueid", uuid)
  event:addHeader("Stir-Answered", (tonumber(answer_epoch) or 0) > 0 and "yes" or "no")
  event:fire()
end

local direction, trunk, number = text(argv[1]), text(argv[2]), text(argv[3])
local works, failure
if direction == "ended" then
  works, failure = pcall(ended, trunk, number)
elseif direction ~= "inbound" and direction ~= "outbound" then
  works, failure = false, "neither inbound nor outbound"
elseif not trunk:match("^[%w_.-]+$") or #trunk > 64 then
  works, failure = false, "not the name of a trunk"
else
  works, failure = pcall(serve, direction, trunk, number)
end
if not works then
  -- Of the failure only its kind: a message could quote what a stranger sent.
  freeswitch.consoleLog("err", "pbx_stir.lua: " .. text(failure):gsub("[^%w .:_-]", "?"):sub(1, 200) .. "\n")
  if session then
    pcall(own, { direction = direction }, "internal-error", 0)
  end
end
