//! A module that was checked.

use session_protocol::workload::MODULE_BYTES_MAX;
use session_protocol::workload::manifest::{Limits, Manifest};
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{
    Engine, Error, ExternType, FuncType, Instance, Linker, Module, Store, TrapCode, ValType,
};

use super::bounds::{IMPORTS_MAX, check_limits, config};
use super::host::Host;
use super::imports::{IMPORTS, Import, MODULE, NumberType, linker};

/// The function with which a program begins.
pub(super) const RUN: &str = "run";
/// The memory of a program.
const MEMORY: &str = "memory";

/// Why a module is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadModule {
    /// It is too long.
    #[error("the module has {got} bytes, the limit is {limit}")]
    TooLarge {
        /// Its length.
        got: usize,
        /// The longest.
        limit: usize,
    },
    /// It is no module, or uses what the engine does not have.
    #[error("the module is not valid at byte {offset}: {why}")]
    Invalid {
        /// Where.
        offset: usize,
        /// Why.
        why: String,
    },
    /// It is too much for the engine.
    #[error("the module's shape is refused: {why}")]
    Shape {
        /// Why.
        why: String,
    },
    /// It imports too much.
    #[error("the module has {got} imports, the limit is {limit}")]
    TooManyImports {
        /// How many.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// It imports something that there is not.
    #[error("there is no import {module}.{name}: only the functions of {MODULE} can be imported")]
    UnknownImport {
        /// The module of the import.
        module: String,
        /// Its name.
        name: String,
    },
    /// It imports one of ours as something else.
    #[error("the import {MODULE}.{name} is {expected}, the module wants {got}")]
    ImportType {
        /// Which.
        name: &'static str,
        /// What it is.
        expected: String,
        /// What the module wants.
        got: String,
    },
    /// It does not export what it must.
    #[error("the module does not export `{name}`: {expected}")]
    MissingExport {
        /// What.
        name: String,
        /// What it must be.
        expected: &'static str,
    },
    /// It exports something else under the name.
    #[error("the module exports `{name}` as {got}: it must be {expected}")]
    ExportType {
        /// What.
        name: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// It begins with more memory than it may have.
    #[error("the module begins with {got} pages of memory, the manifest allows {limit}")]
    Memory {
        /// Pages.
        got: u64,
        /// Pages of the manifest.
        limit: u32,
    },
    /// It cannot be put into memory.
    #[error("the module cannot be started: {why}")]
    Start {
        /// Why.
        why: &'static str,
    },
    /// The manifest wants more than anybody may have.
    #[error("the manifest's {field} is {got}, the limit is {limit}")]
    Limit {
        /// Of what.
        field: &'static str,
        /// How much.
        got: u64,
        /// How much is allowed.
        limit: u64,
    },
}

impl BadModule {
    /// Returns the reason with which a session fails: without what the engine's parser says, whose
    /// words are not ours.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Invalid { .. } => "the module is not valid".into(),
            Self::Shape { .. } => "the module's shape is refused".into(),
            other => super::bounds::reason(&other.to_string()),
        }
    }
}

/// A module that was checked and compiled.
pub struct Program {
    // One engine for each module: an engine keeps the code of all its modules until it is dropped.
    engine: Engine,
    module: Module,
    linker: Linker<Host>,
    memory_pages: u64,
    bytes: usize,
}

impl Program {
    /// Checks and compiles a module.
    ///
    /// # Errors
    /// When it is not a module that can be run within the limits.
    pub fn compile(bytes: &[u8], limits: &Limits) -> Result<Self, BadModule> {
        check_limits(limits)?;
        if bytes.len() > MODULE_BYTES_MAX {
            return Err(BadModule::TooLarge { got: bytes.len(), limit: MODULE_BYTES_MAX });
        }
        let engine = Engine::new(&config());
        let module = Module::new(&engine, bytes).map_err(|error| not_compiled(&error))?;
        check_imports(&module)?;
        let memory_pages = check_memory(&module)?;
        let linker = linker(&engine);
        let program = Self { engine, module, linker, memory_pages, bytes: bytes.len() };
        program.check_function(RUN)?;
        program.admit(limits)?;
        program.try_start(limits)?;
        Ok(program)
    }

    /// Checks the module against other limits than those for which it was compiled.
    pub(super) fn admit(&self, limits: &Limits) -> Result<(), BadModule> {
        check_limits(limits)?;
        if self.memory_pages > limits.memory_pages.into() {
            let (got, limit) = (self.memory_pages, limits.memory_pages);
            return Err(BadModule::Memory { got, limit });
        }
        Ok(())
    }

    /// Checks that a function without parameters and results is exported.
    pub(super) fn check_function(&self, name: &str) -> Result<(), BadModule> {
        const EXPECTED: &str = "a function without parameters and results";
        let name = || name.to_owned();
        match self.module.get_export(&name()) {
            None => Err(BadModule::MissingExport { name: name(), expected: EXPECTED }),
            Some(ExternType::Func(ty)) if ty.params().is_empty() && ty.results().is_empty() => {
                Ok(())
            }
            Some(other) => {
                let got = kind_text(&other);
                Err(BadModule::ExportType { name: name(), expected: EXPECTED, got })
            }
        }
    }

    /// Returns bytes of the module.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns a store with so much fuel.
    pub(super) fn store(&self, host: Host, fuel: u64) -> Store<Host> {
        let mut store = Store::new(&self.engine, host);
        store.limiter(|host| host);
        store.set_fuel(fuel).expect("fuel is metered");
        store
    }

    /// Puts the module into a store and runs its `start` function.
    pub(super) fn instantiate(&self, store: &mut Store<Host>) -> Result<Instance, Error> {
        let instance = self.linker.instantiate_and_start(&mut *store, &self.module);
        store.data_mut().starting = false;
        instance
    }

    /// Checks that tables and segments fit. Without fuel the `start` function gets nowhere.
    fn try_start(&self, limits: &Limits) -> Result<(), BadModule> {
        let mut store = self.store(Host::transform(&[], limits), 0);
        match self.instantiate(&mut store) {
            Ok(_) => Ok(()),
            Err(error) if error.as_trap_code() == Some(TrapCode::OutOfFuel) => Ok(()),
            Err(error) => Err(BadModule::Start { why: start_text(&error) }),
        }
    }
}

/// Checks a module as authors need it: it can be run within the manifest's limits, and has the
/// functions that the manifest's transforms name.
///
/// # Errors
/// What is wrong.
pub fn check(module: &[u8], manifest: &Manifest) -> Result<(), BadModule> {
    let program = Program::compile(module, &manifest.limits)?;
    let transforms = manifest.sources.iter().filter_map(|source| source.transform.guest.as_ref());
    transforms.into_iter().try_for_each(|function| program.check_function(function))
}

fn not_compiled(error: &Error) -> BadModule {
    match error.kind() {
        ErrorKind::Wasm(error) => {
            BadModule::Invalid { offset: error.offset(), why: error.message().to_owned() }
        }
        other => BadModule::Shape { why: other.to_string() },
    }
}

/// Returns why a module cannot be put into memory.
pub(super) fn start_text(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
            "a segment does not fit its table"
        }
        ErrorKind::Instantiation(InstantiationError::FailedToInstantiateTable(_)) => {
            "a table is too large"
        }
        ErrorKind::Instantiation(InstantiationError::TooManyTables) => "it has too many tables",
        _ => "a segment does not fit its memory or table",
    }
}

fn check_imports(module: &Module) -> Result<(), BadModule> {
    let imports = module.imports();
    if imports.len() > IMPORTS_MAX {
        return Err(BadModule::TooManyImports { got: imports.len(), limit: IMPORTS_MAX });
    }
    for wanted in imports {
        let ours = IMPORTS.iter().find(|import| import.name == wanted.name());
        let Some(ours) = ours.filter(|_| wanted.module() == MODULE) else {
            let [module, name] =
                [wanted.module(), wanted.name()].map(|text| shown(text).to_owned());
            return Err(BadModule::UnknownImport { module, name });
        };
        let ty = function_type(ours);
        if !matches!(wanted.ty(), ExternType::Func(wanted) if *wanted == ty) {
            let expected = kind_text(&ExternType::Func(ty));
            let got = kind_text(wanted.ty());
            return Err(BadModule::ImportType { name: ours.name, expected, got });
        }
    }
    Ok(())
}

/// Returns as much of a module's name as people need.
fn shown(name: &str) -> &str {
    super::bounds::cut(name, 64)
}

fn function_type(import: &Import) -> FuncType {
    let result = import.result.map(|result| match result {
        NumberType::I32 => ValType::I32,
        NumberType::I64 => ValType::I64,
    });
    FuncType::new(import.parameters.iter().map(|_| ValType::I32), result)
}

/// Returns with how many pages the module begins.
fn check_memory(module: &Module) -> Result<u64, BadModule> {
    const EXPECTED: &str = "its memory";
    let name = || MEMORY.to_owned();
    match module.get_export(MEMORY) {
        Some(ExternType::Memory(memory)) => Ok(memory.minimum()),
        None => Err(BadModule::MissingExport { name: name(), expected: EXPECTED }),
        Some(other) => {
            let got = kind_text(&other);
            Err(BadModule::ExportType { name: name(), expected: EXPECTED, got })
        }
    }
}

/// Returns a type in the words of WebAssembly text, or of people.
fn kind_text(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(ty) => {
            let list = |types: &[ValType]| {
                let names: Vec<_> =
                    types.iter().map(|ty| format!("{ty:?}").to_lowercase()).collect();
                names.join(", ")
            };
            format!("({}) -> ({})", list(ty.params()), list(ty.results()))
        }
        ExternType::Memory(_) => "a memory".into(),
        ExternType::Table(_) => "a table".into(),
        ExternType::Global(_) => "a global".into(),
    }
}
