-- pbx_stir_caller.lua: what a caller sent, made fit to be shown and passed on.
--
--   name [MARK]    after the inbound hook: "[V] " before the name of a verified caller, or MARK instead of
--                  "[V]". Names that come with square brackets, full-width ones too, or with MARK lose them,
--                  so that a stranger cannot send the mark along; numbers lose parameters such as ;verstat=…
--   headers        takes away every X- and P- header that came with the call, so that none is passed on
--
-- Both are run inline, in the context of an inbound trunk. README.md has examples.

local LONGEST_NAME = 160

-- Each occurrence, again and again: taking one out may put another one together.
local function without(name, mark)
  while mark ~= "" do
    local at, to = name:find(mark, 1, true)
    if not at then break end
    name = name:sub(1, at - 1) .. name:sub(to + 1)
  end
  return name
end

local function text(value)
  if value == nil then return "" end
  return tostring(value)
end

local function get(name) return text(session:getVariable(name)) end

-- Whatever FreeSWITCH could take for a variable, a quote or an escape goes: set_profile_var expands what it is
-- given, and so does whoever reads the profile later. Nothing that is left can put any of it together again.
local function harmless(value)
  return (value:sub(1, LONGEST_NAME):gsub("%c", " "):gsub("'", "\226\128\153"):gsub('[$%%{}\\`"]', ""))
end

-- A number, or what stands for one: a word.
local function word(value) return (value:sub(1, LONGEST_NAME):gsub(";.*$", ""):gsub("[^%w+*#.@:_-]", "")) end

local function mark_name(given)
  local mark = given ~= "" and given or "[V]"
  local name = get("effective_caller_id_name")
  if name == "" then name = get("caller_id_name") end
  name = harmless(name):gsub("%[", "-"):gsub("%]", "-"):gsub("\239\188\187", "-"):gsub("\239\188\189", "-")
  name = without(name, mark):gsub("^%s+", "")
  if get("stir_verstat") == "TN-Validation-Passed" then name = mark .. " " .. name end
  -- What his side says later would come past all this (before FreeSWITCH 1.10.7: by the second alone).
  session:setVariable("sip_ignore_remote_cid", "true")
  session:setVariable("ignore_display_updates", "true")
  local number = word(get("caller_id_number"))
  session:setVariable("effective_caller_id_name", name)
  session:execute("set_profile_var", "caller_id_name=" .. name)
  if number ~= get("caller_id_number") then session:execute("set_profile_var", "caller_id_number=" .. number) end
end

local function drop_headers()
  local dumped = text(freeswitch.API():execute("uuid_dump", get("uuid")))
  for name in dumped:gmatch("variable_(sip_h_[XxPp]%-[^:\n]*):") do session:setVariable(name, nil) end
end

local what = text(argv[1])
local works, failure = pcall(function()
  if what == "name" then
    mark_name(text(argv[2]))
  elseif what == "headers" then
    drop_headers()
  else
    error("neither name nor headers")
  end
end)
if not works then
  freeswitch.consoleLog("err", "pbx_stir_caller.lua: " .. text(failure):gsub("[^%w .:_-]", "?"):sub(1, 200) .. "\n")
end
