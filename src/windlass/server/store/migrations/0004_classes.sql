-- Which method of a class a call is for; '' for plain functions.
ALTER TABLE call ADD COLUMN method TEXT NOT NULL DEFAULT '';

-- Variants: the same code with other parameters or options, and a pool of its own.
ALTER TABLE function ADD COLUMN variant_of INTEGER;            -- number of the base, NULL for functions that are none
ALTER TABLE function ADD COLUMN variant_key TEXT;              -- digest of what tells it from the base's others
ALTER TABLE function ADD COLUMN parameters TEXT NOT NULL DEFAULT '';   -- as wire.parameters writes them
ALTER TABLE function ADD COLUMN overrides TEXT NOT NULL DEFAULT '{}';  -- wire.messages.functions.FunctionOverrides
CREATE UNIQUE INDEX function_variant ON function (variant_of, variant_key) WHERE variant_of IS NOT NULL;
