//! The C interface as a Rust source declares it, in a form that can be compared.

use std::collections::BTreeMap;

use syn::{
    Expr, Fields, FnArg, ForeignItem, GenericArgument, Item, Lit, PathArguments, PointerMutability,
    ReturnType, Signature, Type, UseTree,
};

/// Names and their meaning, as text. Only names of the interface are kept.
#[derive(Default, Debug)]
pub struct Api {
    /// `(usize, *mut c_void) -> bool`
    pub functions: BTreeMap<String, String>,
    /// The value, in decimal.
    pub constants: BTreeMap<String, String>,
    /// `{blocks: *mut c_void, ...}`, or what an alias stands for.
    pub types: BTreeMap<String, String>,
    /// Of the constants, also of those that are not of the interface: others may need them.
    expressions: BTreeMap<String, Expr>,
    items: Vec<Item>,
}

/// A number in Rust. Its sign in C is the compiler's choice, so that side may be unsigned too.
const ENUMERATION: &str = "mi_option_t";
/// The check does not compare its contents: bindgen and we hide them in different ways.
const OPAQUE: &str = "mi_heap_t";

fn is_of_the_interface(name: &str) -> bool {
    ["mi_", "_mi_", "MI_"].iter().any(|prefix| name.starts_with(prefix))
}

impl Api {
    /// Adds what a file declares. Functions that are not `extern` are not bindings.
    pub fn add_source(&mut self, text: &str) {
        for item in syn::parse_file(text).expect("Rust").items {
            match item {
                Item::Const(constant) => {
                    self.expressions.insert(constant.ident.to_string(), *constant.expr);
                }
                item => self.items.push(item),
            }
        }
    }

    /// Turns everything into text; call it when all is added.
    pub fn finish(&mut self) {
        for name in self.expressions.keys().filter(|name| is_of_the_interface(name)) {
            let value = self.value(&self.expressions[name]);
            self.constants.insert(name.clone(), value.to_string());
        }
        for item in std::mem::take(&mut self.items) {
            self.add_item(&item);
        }
        self.name_structures();
        self.types.retain(|name, _| is_of_the_interface(name));
        if let Some(text) = self.types.get_mut(OPAQUE) {
            text.truncate("repr(C) {".len());
        }
        if let Some(text) = self.types.get_mut(ENUMERATION) {
            *text = text.replace("c_uint", "c_int");
        }
    }

    fn add_item(&mut self, item: &Item) {
        match item {
            Item::ForeignMod(block) => {
                let abi = block.abi.name.as_ref().map(syn::LitStr::value);
                assert_eq!(abi.as_deref(), Some("C"), "an extern block");
                for item in &block.items {
                    if let ForeignItem::Fn(function) = item {
                        let text = self.function_text(&function.sig);
                        self.functions.insert(function.sig.ident.to_string(), text);
                    }
                }
            }
            Item::Type(alias) => {
                let text = self.type_text(&alias.ty);
                self.types.insert(alias.ident.to_string(), text);
            }
            Item::Struct(structure) => {
                let is_repr_c = structure.attrs.iter().any(|attribute| {
                    let argument = attribute.parse_args::<syn::Ident>();
                    attribute.path().is_ident("repr") && matches!(argument, Ok(word) if word == "C")
                });
                let layout = if is_repr_c { "repr(C) " } else { "" };
                let text = format!("{layout}{}", self.fields_text(&structure.fields));
                self.types.insert(structure.ident.to_string(), text);
            }
            // bindgen's way to give the tag of an enumeration its alias.
            Item::Use(uses) => {
                if let UseTree::Path(path) = &uses.tree {
                    if let UseTree::Rename(rename) = &*path.tree {
                        self.types.insert(rename.rename.to_string(), rename.ident.to_string());
                    }
                }
            }
            _ => {}
        }
    }

    /// In C the structure has a tag, and programs use the alias: `mi_heap_s` is `mi_heap_t`.
    fn name_structures(&mut self) {
        let tags: Vec<(String, String)> = self
            .types
            .iter()
            .filter(|(_, target)| self.types.contains_key(*target))
            .map(|(alias, tag)| (tag.clone(), alias.clone()))
            .collect();
        for (tag, alias) in tags {
            let text = self.types.remove(&tag).expect("found above");
            self.types.insert(alias.clone(), text);
            let everywhere = self.functions.values_mut().chain(self.types.values_mut());
            for text in everywhere {
                *text = replace_word(text, &tag, &alias);
            }
        }
    }

    fn value(&self, expression: &Expr) -> i128 {
        match expression {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) => number.base10_parse().expect("a number"),
                other => panic!("a constant of an unexpected kind: {other:?}"),
            },
            Expr::Unary(minus) => -self.value(&minus.expr),
            Expr::Paren(inner) => self.value(&inner.expr),
            Expr::Cast(cast) => self.value(&cast.expr),
            Expr::Binary(binary) => {
                let (left, right) = (self.value(&binary.left), self.value(&binary.right));
                match binary.op {
                    syn::BinOp::Mul(_) => left * right,
                    syn::BinOp::Add(_) => left + right,
                    other => panic!("an operator that this program does not know: {other:?}"),
                }
            }
            Expr::Path(path) => {
                let name = path.path.segments.last().expect("a name").ident.to_string();
                self.value(self.expressions.get(&name).unwrap_or_else(|| panic!("no {name}")))
            }
            Expr::Call(call) => self.size_of(call),
            other => panic!("an expression that this program does not know: {other:?}"),
        }
    }

    /// `size_of::<*mut T>()` and nothing else.
    fn size_of(&self, call: &syn::ExprCall) -> i128 {
        if let Expr::Path(path) = &*call.func {
            let segment = path.path.segments.last().expect("a name");
            if segment.ident == "size_of" {
                if let [Type::Ptr(_)] = generic_types(&segment.arguments)[..] {
                    return std::mem::size_of::<*mut u8>() as i128;
                }
            }
        }
        panic!("a call that this program does not know: {call:?}")
    }
    fn function_text(&self, signature: &Signature) -> String {
        let parameters = signature.inputs.iter().map(|input| match input {
            FnArg::Typed(typed) => self.type_text(&typed.ty),
            FnArg::Receiver(_) => panic!("self in a C function"),
        });
        self.signature_text(parameters.collect(), &signature.output)
    }

    fn signature_text(&self, parameters: Vec<String>, output: &ReturnType) -> String {
        let result = match output {
            ReturnType::Default => "()".to_owned(),
            ReturnType::Type(_, result) => self.type_text(result),
        };
        format!("({}) -> {result}", parameters.join(", "))
    }

    fn fields_text(&self, fields: &Fields) -> String {
        let fields = fields.iter().map(|field| {
            let name = field.ident.as_ref().map_or_else(String::new, ToString::to_string);
            format!("{name}: {}", self.type_text(&field.ty))
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
    }

    /// A type without the path that leads to it.
    fn type_text(&self, of: &Type) -> String {
        match of {
            Type::Ptr(pointer) => {
                let kind = match pointer.mutability {
                    PointerMutability::Mut(_) => "mut",
                    PointerMutability::Const(_) => "const",
                };
                format!("*{kind} {}", self.type_text(&pointer.elem))
            }
            Type::Array(array) => {
                format!("[{}; {}]", self.type_text(&array.elem), self.value(&array.len))
            }
            Type::FnPtr(function) => {
                let unsafety = if function.unsafety.is_some() { "unsafe " } else { "" };
                let abi = function.abi.as_ref().and_then(|abi| abi.name.as_ref());
                let abi =
                    abi.map_or_else(String::new, |name| format!("extern {:?} ", name.value()));
                let parameters = function.inputs.iter().map(|input| self.type_text(&input.ty));
                let signature = self.signature_text(parameters.collect(), &function.output);
                format!("{unsafety}{abi}fn{signature}")
            }
            Type::Path(path) => {
                let segment = path.path.segments.last().expect("a name");
                let inner: Vec<String> = generic_types(&segment.arguments)
                    .into_iter()
                    .map(|inner| self.type_text(inner))
                    .collect();
                match inner.is_empty() {
                    true => segment.ident.to_string(),
                    false => format!("{}<{}>", segment.ident, inner.join(", ")),
                }
            }
            Type::Tuple(tuple) => {
                let inner = tuple.elems.iter().map(|inner| self.type_text(inner));
                format!("({})", inner.collect::<Vec<_>>().join(", "))
            }
            other => panic!("a type that this program does not know: {other:?}"),
        }
    }
}

/// `text` with each word `from` replaced.
fn replace_word(text: &str, from: &str, to: &str) -> String {
    let is_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut result = String::new();
    let mut word = String::new();
    for c in text.chars().chain(Some('\0')) {
        if is_of_a_word(c) {
            word.push(c);
        } else {
            result.push_str(if word == from { to } else { &word });
            word.clear();
            result.push(c);
        }
    }
    result.pop();
    result
}

fn generic_types(arguments: &PathArguments) -> Vec<&Type> {
    match arguments {
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(inner) => Some(inner),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}
